/** Every point of a pack's way where a test kills the process: `failpoint('flush.…')`, in order. */
export const FLUSH_POINTS = [
  'chosen',
  'sealed',
  'encoded',
  'register_signed',
  'register_sent',
  'registered',
  'stored',
  'certify_signed',
  'certify_sent',
  'certified',
  'linked',
  'entered',
  'committed',
  'tail_done',
];

/** Those of a renewal, in order. */
export const RENEWAL_POINTS = ['renewal.signed', 'renewal.sent', 'renewal.entered'];
