/** The message that a storage confirmation signs (Walrus `messages::Confirmation`). */
import type { Epoch, SuiId } from '../../base/ids.ts';

/** Intent: BLOB_CERT_MSG, version 0, application Walrus. */
const INTENT = [1, 0, 3];

/** Intent, epoch, blob ID, and the Blob object if it is deletable. */
export const confirmationMessage = (
  epoch: Epoch,
  blobId: Uint8Array,
  objectId: SuiId | undefined,
): Buffer => {
  const number = Buffer.alloc(4);
  number.writeUInt32LE(epoch);
  const type = objectId === undefined ? [0] : [1, ...Buffer.from(objectId.slice(2), 'hex')];
  return Buffer.concat([Buffer.from(INTENT), number, blobId, Buffer.from(type)]);
};
