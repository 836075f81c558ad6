/**
 * A whole localnet as the daemon runs it: the ledger in this process, its storage nodes here or in
 * processes of their own. Which nodes were told to stop is remembered over restarts.
 */
import { TuskError } from '../base/errors.ts';
import { log } from '../base/log.ts';
import { type Gateway, startGateway } from './gateway/server.ts';
import { gatewayPort, genesisNodes } from './genesis.ts';
import { type LedgerHandle, startLedger } from './ledger/server.ts';
import { type Members, membersApart, membersHere } from './members.ts';
import { Misbehaviour } from './node/misbehave.ts';
import { type NetworkFile, type NetworkPaths, type Tip, writeNetwork } from './parameters.ts';
import { cpuMsOf } from './process.ts';
import type { LocalnetStatus, NodeStatus } from './status.ts';

/** A running localnet. */
export class Localnet {
  readonly #paths: NetworkPaths;
  readonly #ledger: LedgerHandle;
  readonly #members: Members;
  #gateway: Gateway | undefined;
  #network: NetworkFile;

  private constructor(
    paths: NetworkPaths,
    network: NetworkFile,
    ledger: LedgerHandle,
    members: Members,
  ) {
    this.#paths = paths;
    this.#network = network;
    this.#ledger = ledger;
    this.#members = members;
  }

  /** Starts the ledger, then every node that was not told to stop. */
  static async start(paths: NetworkPaths, network: NetworkFile): Promise<Localnet> {
    const ledger = await startLedger({
      directory: paths.ledger,
      port: network.port,
      readLagMs: network.readLagMs,
      genesis: {
        nodes: genesisNodes(paths, network),
        nShards: network.shards,
        epochMs: network.epochMs,
        registrationDelayMs: network.delayMs,
      },
    });
    try {
      const members = network.processes
        ? membersApart(paths, ledger.url)
        : await membersHere(paths, network, ledger.url);
      const localnet = new Localnet(paths, network, ledger, members);
      await localnet.#startNodes();
      localnet.#gateway = await startGateway({
        port: gatewayPort(network),
        directory: paths.gateway,
        ledger: ledger.ledger,
        tip: () => localnet.#network.tip,
      });
      return localnet;
    } catch (error) {
      await ledger.close();
      throw error;
    }
  }

  /** Resolves when the ledger has ended, by whatever way. */
  get ended(): Promise<void> {
    return this.#ledger.stopped;
  }

  /** What `status` shows. */
  status(): LocalnetStatus {
    const { url, ledger } = this.#ledger;
    const state = ledger.state();
    const prices = ledger.prices();
    const gatewayUrl = `http://127.0.0.1:${gatewayPort(this.#network)}`;
    const nodes = state.nodes.map(({ index, name, address }): NodeStatus => {
      const pid = this.#members.pid(index);
      return {
        index,
        name,
        address,
        shards: state.committee[index] ?? [],
        state: this.#members.isUp(index) ? 'up' : 'stopped',
        misbehaves: this.#network.misbehaving[index] ?? [],
        cpuMs: pid === undefined ? null : cpuMsOf(pid),
      };
    });
    return {
      rpcUrl: url,
      faucetUrl: `${url}/localnet/faucet`,
      packageConfig: {
        systemObjectId: state.systemObjectId,
        stakingPoolId: state.stakingPoolId,
      },
      relayUrl: gatewayUrl,
      aggregatorUrl: gatewayUrl,
      tip: this.#network.tip,
      nodeScheme: this.#network.tls ? 'https' : 'http',
      nShards: state.nShards,
      epoch: state.epoch,
      isChanging: state.previous !== undefined,
      prices: { storage: String(prices.storage), write: String(prices.write) },
      nodes,
      pid: process.pid,
      cpuMs: nodes.reduce((sum, node) => sum + (node.cpuMs ?? 0), cpuMsOf(process.pid)),
      directory: this.#paths.root,
    };
  }

  /** Starts nodes and remembers that they shall run. */
  async startNodes(indices: readonly number[]): Promise<void> {
    this.#check(indices);
    await Promise.all(indices.map(index => this.#members.start(index)));
    const stopped = this.#network.stopped.filter(index => !indices.includes(index));
    this.#remember({ stopped });
  }

  /** Stops nodes and remembers that they shall stay so. */
  async stopNodes(indices: readonly number[]): Promise<void> {
    this.#check(indices);
    await Promise.all(indices.map(index => this.#members.stop(index)));
    const stopped = [...new Set([...this.#network.stopped, ...indices])].sort((a, b) => a - b);
    this.#remember({ stopped });
  }

  /** Lets nodes misbehave (see `Misbehaviour`), in the given ways only; remembered too. */
  misbehave(indices: readonly number[], modes: readonly string[]): void {
    this.#check(indices);
    const misbehaviour = new Misbehaviour(modes);
    const misbehaving = { ...this.#network.misbehaving };
    for (const index of indices) {
      delete misbehaving[index];
      if (modes.length > 0) misbehaving[index] = [...modes];
    }
    this.#remember({ misbehaving });
    for (const index of indices) this.#members.misbehave(index, misbehaviour);
  }

  /** What the upload relay wants to be paid from now on. */
  setTip(tip: Tip): void {
    this.#remember({ tip });
  }

  /** Ends everything. */
  async close(): Promise<void> {
    await this.#gateway?.close();
    await this.#members.close();
    await this.#ledger.close();
  }

  async #startNodes(): Promise<void> {
    const { nodes, stopped } = this.#network;
    const wanted = Array.from({ length: nodes }, (_, i) => i).filter(i => !stopped.includes(i));
    const results = await Promise.allSettled(wanted.map(index => this.#members.start(index)));
    const failed = results.find(result => result.status === 'rejected');
    if (failed === undefined) return;
    await this.#members.close();
    throw failed.reason;
  }

  #check(indices: readonly number[]): void {
    const unknown = indices.find(index => !(index >= 0 && index < this.#network.nodes));
    if (unknown !== undefined) {
      throw new TuskError(
        'not_found',
        `there is no node ${unknown}: this localnet has nodes 0 to ${this.#network.nodes - 1}`,
      );
    }
  }

  #remember(change: Partial<Pick<NetworkFile, 'stopped' | 'misbehaving' | 'tip'>>): void {
    this.#network = { ...this.#network, ...change };
    writeNetwork(this.#paths, this.#network);
    log('localnet').info(change, 'told otherwise');
  }
}
