/** Test coins for a new wallet, where the network has a faucet. */
import { messageOf, TuskError } from '../base/errors.ts';
import type { NetworkSettings } from './settings.ts';

/** Asks the network's faucet for WAL and SUI; does nothing on networks without one. */
export const fund = async (
  name: string,
  network: NetworkSettings,
  address: string,
): Promise<void> => {
  if (network.faucetUrl === undefined) return;
  let response: Response;
  try {
    response = await fetch(network.faucetUrl, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ address }),
      signal: AbortSignal.timeout(10_000),
    });
  } catch (cause) {
    const hint =
      name === 'localnet' ? ' It is not running? Start it with `tuskfs localnet start`.' : '';
    throw new TuskError(
      'network',
      `the faucet of ${name} at ${network.faucetUrl} cannot be reached: ${messageOf(cause)}.${hint} Nothing was made.`,
      { cause },
    );
  }
  if (response.ok) return;
  throw new TuskError(
    'network',
    `the faucet of ${name} refused (HTTP ${response.status}): ${(await response.text()).slice(0, 200)}. Nothing was made.`,
  );
};
