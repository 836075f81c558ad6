/** The command line: one file a command. */
import { Command, CommanderError } from 'commander';
import { registerBlobId } from './blob-id.ts';
import { registerCache } from './cache.ts';
import { Exit, fail } from './command.ts';
import { registerCreate } from './create.ts';
import { registerLocalnet } from './localnet.ts';
import { registerMount } from './mount.ts';
import { registerStatus } from './status.ts';
import { registerSync } from './sync.ts';
import { registerUmount } from './umount.ts';

const program = new Command('tuskfs')
  .description('Walrus decentralised storage, mounted as an ordinary drive')
  .version('0.1.0')
  .showHelpAfterError('(`tuskfs help` lists the commands)')
  .exitOverride();

registerLocalnet(program);
registerCreate(program);
registerMount(program);
registerUmount(program);
registerSync(program);
registerStatus(program);
registerCache(program);
registerBlobId(program);

try {
  await program.parseAsync();
} catch (error) {
  // Commander has already said what is wrong with the words of the command.
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? Exit.done : Exit.usage);
  fail(error);
}
