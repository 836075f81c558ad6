/** Test coins for a new wallet, where the network has a faucet. */
import { within } from '../base/abort.ts';
import { messageOf, TuskError } from '../base/errors.ts';
import type { NetworkSettings } from './settings.ts';

const TIMEOUT_MS = 10_000;

/** Asks the network's faucet for WAL and SUI; does nothing on networks without one. */
export const fund = async (
  name: string,
  network: NetworkSettings,
  address: string,
): Promise<void> => {
  if (network.faucetUrl === undefined) return;
  const url = network.faucetUrl;
  let refused: string;
  try {
    refused = await within(undefined, TIMEOUT_MS, async signal => {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ address }),
        signal,
      });
      return response.ok ? '' : `HTTP ${response.status}: ${(await response.text()).slice(0, 200)}`;
    });
  } catch (cause) {
    const hint =
      name === 'localnet' ? ' It is not running? Start it with `tuskfs localnet start`.' : '';
    throw new TuskError(
      'network',
      `the faucet of ${name} at ${url} cannot be reached: ${messageOf(cause)}.${hint} Nothing was made.`,
      { cause },
    );
  }
  if (refused === '') return;
  throw new TuskError('network', `the faucet of ${name} refused (${refused}). Nothing was made.`);
};
