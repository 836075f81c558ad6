/** A ledger as a process of its own, to be killed: `node ledgerChild.ts DIRECTORY` prints its port. */
import { startLedger } from '../../src/localnet/ledger/server.ts';

const handle = await startLedger({ directory: process.argv[2]!, port: 0 });
process.stdout.write(`${handle.port}\n`);
