/** Where a passphrase comes from: a file (`--passphrase-file`, `TUSKFS_PASSPHRASE_FILE`) or the terminal; never argv or the environment. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { messageOf, TuskError } from '../base/errors.ts';

const fromFile = (path: string): string => {
  let text: string;
  try {
    text = readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (cause) {
    throw new TuskError(
      'usage',
      `the passphrase file ${path} cannot be read: ${messageOf(cause)}`,
      { cause },
    );
  }
  return text.replace(/\r?\n$/, '');
};

const ask = (question: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
    const lines = createInterface({ input: process.stdin, output: silent, terminal: true });
    process.stderr.write(question);
    lines.on('SIGINT', () => {
      lines.close();
      process.stderr.write('\n');
      reject(new TuskError('aborted', 'interrupted; nothing was changed'));
    });
    lines.question('', answer => {
      lines.close();
      process.stderr.write('\n');
      resolve(answer);
    });
  });

/** The passphrase; asked for twice when it is a new one. */
export const readPassphrase = async (options: {
  file?: string;
  isNew: boolean;
}): Promise<string> => {
  const file = options.file ?? process.env.TUSKFS_PASSPHRASE_FILE;
  if (file === undefined && !process.stdin.isTTY) {
    throw new TuskError(
      'usage',
      'there is no terminal to ask for the passphrase: name a file with --passphrase-file or TUSKFS_PASSPHRASE_FILE',
    );
  }
  const passphrase = file === undefined ? await ask('passphrase: ') : fromFile(file);
  if (passphrase === '') throw new TuskError('usage', 'the passphrase is empty');
  if (file === undefined && options.isNew && (await ask('passphrase again: ')) !== passphrase) {
    throw new TuskError('usage', 'the two passphrases differ; nothing was made');
  }
  return passphrase;
};
