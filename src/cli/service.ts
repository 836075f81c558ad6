/**
 * Words to the service manager that started this process (systemd's `Type=notify`, sd_notify(3)).
 * Without one (`NOTIFY_SOCKET` unset) nobody is told.
 */
import { messageOf } from '../base/errors.ts';
import { native } from '../native.ts';
import { say } from './command.ts';

/** Tells the manager; `state` is a line like `READY=1` or `STATUS=…`. A manager that does not listen is no reason to stop. */
export const tellService = (...state: string[]): void => {
  const address = process.env.NOTIFY_SOCKET;
  if (address === undefined || address === '') return;
  try {
    native.notifyService(address, state.join('\n'));
  } catch (error) {
    say(`tuskfs: the service manager was not told: ${messageOf(error)}`);
  }
};
