/** What a test in a mount namespace of its own (unshare(1)) owes others: the copy of a mount there keeps it from ending. */

/** Line of a shell that lets go of every drive but those below `own`. */
export const letGoOfOthers = (own: string): string =>
  `awk -v own='${own}/' '$3 == "fuse.tuskfs" && index($2, own) != 1 { print $2 }' /proc/self/mounts | (cd /; xargs -r umount -c -l) || true`;
