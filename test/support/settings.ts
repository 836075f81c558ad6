/** How our client finds a localnet. */
import type { LocalnetStatus } from '../../src/localnet/status.ts';

/** What there is to know of a localnet. */
export type Place = Pick<LocalnetStatus, 'rpcUrl' | 'packageConfig' | 'nodeScheme'>;

/** Settings of its network. */
export const settingsOf = ({ rpcUrl, packageConfig, nodeScheme }: Place) => ({
  name: 'localnet',
  rpcUrls: [rpcUrl],
  ...packageConfig,
  nodeScheme,
});
