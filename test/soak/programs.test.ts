/** Programs that take minutes on a drive, each with its own check. */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Served } from '../support/served.ts';

const MINUTES = 60_000;
const served = new Served('long');
const sh = (script: string): Promise<string> => served.sh(script, 25 * MINUTES);
const project = fileURLToPath(new URL('../..', import.meta.url));
beforeAll(() => served.start());
afterAll(() => served.remove());

test('npm ci of this very project, and its programs run', async () => {
  const out =
    await sh(`cd drive; mkdir project; cd project; cp ${project}/package.json ${project}/package-lock.json .
    npm ci --prefer-offline --no-fund --no-audit --loglevel=error > /dev/null
    node node_modules/typescript/bin/tsc --version; node_modules/.bin/biome --version
    node -e "const D = require('better-sqlite3'); console.log(new D('x.db').prepare('select 6*7 as n').get().n)"`);
  expect(out).toMatch(/^Version \d.*\nVersion: \d.*\n\n42\n$/);
});

test('git: clone of this repository, checkouts back and forth, gc, fsck', async () => {
  const out =
    await sh(`export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
    git clone -q --no-local ${project} drive/clone; cd drive/clone
    for commit in $(git rev-list HEAD | awk 'NR % 7 == 0' | head -20); do git checkout -q $commit; test -z "$(git status --porcelain)"; done
    git checkout -q -; git gc -q --aggressive; git fsck --full --strict 2> /dev/null; git status --porcelain`);
  expect(out).toBe('');
});

test('cargo builds the codec inside the mount, and its tests pass there', async () => {
  const out =
    await sh(`mkdir drive/rust; cp -r ${project}/native/Cargo.toml ${project}/native/Cargo.lock drive/rust/
    cd ${project}/native; for crate in */Cargo.toml; do cp -r $(dirname $crate) ${served.drive}/rust/; done
    cd ${served.drive}/rust; rm -rf target; CARGO_TARGET_DIR=$PWD/target cargo test --quiet --offline -p tuskfs-codec --lib 2> /dev/null`);
  expect(out).toMatch(/test result: ok/);
});

test('dd over 5 GiB reads back what it wrote', async () => {
  await sh(`head -c 5500M /dev/urandom |
      tee >(sha256sum > sum) | dd of=drive/big bs=1M iflag=fullblock conv=fsync status=none
    until test -s sum; do sleep 0.1; done
    test "$(sha256sum < drive/big)" = "$(cat sum)"; rm drive/big`);
});
