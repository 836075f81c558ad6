/**
 * A plain user's mount, through fusermount3. The test gives the user a device node that everybody
 * may open, in a mount namespace of its own: on most systems /dev/fuse is such a node.
 */
import { execFile } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { letGoOfOthers } from '../support/namespace.ts';

const NOBODY = 65_534;
const work = mkdtempSync(join(tmpdir(), 'tuskfs-user-'));
const server = new URL('../support/serve-vfs.ts', import.meta.url).pathname;
const keeper = new URL('../support/keep-vfs.ts', import.meta.url).pathname;

beforeAll(() => {
  chmodSync(work, 0o755);
  for (const name of ['state', 'drive']) {
    mkdirSync(join(work, name));
    chownSync(join(work, name), NOBODY, NOBODY);
  }
});
afterAll(() => rmSync(work, { recursive: true }));

/** Mounts as nobody, runs `script` beside the mount as root (`user` runs a command as nobody), waits for the server's end. */
const withMount = (script: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const frame = `
      ${letGoOfOthers(work)}
      mknod -m 666 device c 10 229; mount --bind device /dev/fuse; as=(setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups env HOME=/nonexistent)
      user() { "\${as[@]}" "$@"; }
      mounted() { grep -q " $PWD/drive " /proc/self/mounts; }
      serve() {
        \${as[@]} "${process.execPath}" "\${1:-${server}}" "$PWD/state" "$PWD/drive" > /dev/null & pid=$!
        for i in {1..100}; do user ls drive > /dev/null 2>&1 && mounted && return; sleep 0.1; done; false
      }
      trap 'set +e; mounted && umount -l drive; kill -9 $pid 2> /dev/null; rm device' EXIT
      serve
      ${script}`;
    const options = { cwd: work, timeout: 60_000 } as const;
    const args = ['--mount', 'bash', '-euo', 'pipefail', '-c', frame];
    execFile('unshare', args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${script}\n${stdout}${stderr}${error.message}`));
    });
  });

test('S-37: a plain user mounts, uses, and unmounts with fusermount3', async () => {
  const out = await withMount(`
    grep " $PWD/drive " /proc/self/mounts
    user bash -Eeuc 'cd drive; stat -c "%u %A" .; head -c 3000000 /dev/zero > f; mkdir d; mv f d/; cat d/f | wc -c'
    user fusermount3 -u drive
    wait $pid; echo ended $?
    serve; user stat -c %s drive/d/f; user fusermount3 -u drive; wait $pid`);
  const [mount, ...rest] = out.trim().split('\n');
  expect(mount).toContain(' fuse.tuskfs rw,nosuid,nodev,');
  expect(rest).toEqual([`${NOBODY} drwxr-xr-x`, '3000000', 'ended 0', '3000000']);
});

test("S-37: nobody else sees a plain user's mount, not even root", async () => {
  const out = await withMount(`
    ls drive 2>&1 || echo refused
    user fusermount3 -u drive; wait $pid`);
  expect(out).toContain('Permission denied\nrefused\n');
});

test('what a killed server left behind is detached by the next one', async () => {
  const out = await withMount(`
    user bash -c 'echo kept > drive/file'
    kill -9 $pid; wait $pid || true
    user ls drive 2>&1 || echo dead
    serve; user cat drive/file; user fusermount3 -u drive; wait $pid`);
  expect(out).toMatch(/dead\nkept\n$/);
});

test("S-37, S-43: a plain user's mount outlives its daemon", async () => {
  const out = await withMount(`
    user fusermount3 -u drive; wait $pid
    serve "${keeper}"
    user bash -c 'echo kept > drive/kept'
    kill -9 $(cat /proc/$pid/task/$pid/children)
    user cat drive/kept
    user fusermount3 -u drive; wait $pid; echo ended $?`);
  expect(out).toBe('kept\nended 0\n');
});

test("root of a container's user namespace mounts by itself, and its mount outlives its daemon", async () => {
  const out = await withMount(`
    user fusermount3 -u drive; wait $pid; rm -r state/*
    cat > inner <<'END'
      "$0" "$1" "$PWD/state" "$PWD/drive" > /dev/null & pid=$!
      trap 'umount -l drive' ERR
      for i in {1..100}; do grep " $PWD/drive " /proc/self/mounts && break; sleep 0.1; done
      echo kept > drive/file; stat -c %u drive/file
      kill -9 $(cat /proc/$pid/task/$pid/children)
      cat drive/file
      umount drive; wait $pid; echo ended $?
END
    user unshare --user --map-root-user --mount bash -Eeuc "$(cat inner)" "${process.execPath}" "${keeper}"`);
  const [mount, ...rest] = out.trim().split('\n');
  expect(mount).toContain(' fuse.tuskfs rw,');
  expect(rest).toEqual(['0', 'kept', 'ended 0']);
});
