/** URL of a worker's entry file beside the caller's, with the ending that the caller runs under. */
export const workerUrl = (callerUrl: string, name: string): URL =>
  new URL(`${name}${callerUrl.endsWith('.ts') ? '.ts' : '.js'}`, callerUrl);
