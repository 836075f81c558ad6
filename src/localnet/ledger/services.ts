/** Sui's gRPC methods, as far as wallets and Walrus clients ask for them. */
import { GrpcTypes } from '@mysten/sui/grpc';
import { normalizeSuiAddress } from '@mysten/sui/utils';
import { GRPC, invalid, Rejection } from './errors.ts';
import { REFERENCE_GAS_PRICE } from './gas.ts';
import type { Handlers } from './grpcweb.ts';
import { MetadataField } from './layouts.ts';
import type { Ledger } from './ledger.ts';
import { balanceOf, objectToProto, type StoredObject } from './objects.ts';
import { describeFunction } from './signatures.ts';
import { canonicalType, coinOf, coinTypeOf, SUI_TYPE } from './types.ts';
import { balanceChanges, effectsToProto, timestamp, transactionToProto } from './wire.ts';

/** Objects a page and objects a batch. */
const PAGE = 50;

const notFound = (what: string) => new Rejection(GRPC.notFound, `${what} not found`);

const required = (value: string | undefined, name: string): string => {
  if (value === undefined || value === '') throw invalid(`missing ${name}`);
  return value;
};

const addressIn = (value: string | undefined, name: string): string => {
  const text = required(value, name);
  if (!/^(0x)?[0-9a-fA-F]{1,64}$/.test(text)) throw invalid(`invalid ${name}: ${text}`);
  return normalizeSuiAddress(text);
};

const typeIn = (value: string | undefined, name: string): string => {
  const type = canonicalType(required(value, name));
  if (type === undefined) throw invalid(`invalid ${name}: ${value}`);
  return type;
};

const pageSize = (wanted: number | undefined): number =>
  wanted === undefined || wanted === 0 ? PAGE : Math.min(wanted, PAGE);

/** Cuts `limit` + 1 objects to a page; the token is the last id of the page. */
const page = (objects: StoredObject[], limit: number) => ({
  objects: objects.slice(0, limit),
  ...(objects.length > limit && {
    nextPageToken: Buffer.from(objects[limit - 1]!.id),
  }),
});

const after = (token: Uint8Array | undefined): string => Buffer.from(token ?? []).toString();

const ledgerService = (ledger: Ledger): Handlers => {
  const { names, ids } = ledger.machine.network;
  const object = (id: string | undefined) => {
    const objectId = addressIn(id, 'object_id');
    const found = ledger.readView().object(objectId);
    if (found === undefined) throw notFound(`Object ${objectId}`);
    return objectToProto(names, found);
  };
  const result = (id: string | undefined): GrpcTypes.GetObjectResult => {
    try {
      return { result: { oneofKind: 'object', object: object(id) } };
    } catch (error) {
      if (!(error instanceof Rejection)) throw error;
      const status = { code: error.status, message: error.message, details: [] };
      return { result: { oneofKind: 'error', error: status } };
    }
  };
  const transaction = (digest: string | undefined): GrpcTypes.ExecutedTransaction => {
    const found = ledger.store.transaction(required(digest, 'digest'));
    if (found === undefined || found.seq > ledger.readSeq())
      throw notFound(`Transaction ${digest}`);
    return GrpcTypes.ExecutedTransaction.fromBinary(found.executed);
  };
  return {
    'LedgerService/GetServiceInfo': () => ({
      chainId: ids.chainId,
      chain: 'localnet',
      epoch: BigInt(ledger.suiEpoch()),
      checkpointHeight: BigInt(ledger.readSeq()),
      timestamp: timestamp(ledger.nowMs()),
      lowestAvailableCheckpoint: 0n,
      lowestAvailableCheckpointObjects: 0n,
      server: 'tuskfs-localnet',
    }),
    'LedgerService/GetObject': (request: GrpcTypes.GetObjectRequest) => ({
      object: object(request.objectId),
    }),
    'LedgerService/BatchGetObjects': ({ requests }: GrpcTypes.BatchGetObjectsRequest) => {
      if (requests.length > PAGE) throw invalid(`number of batch requests exceed limit of ${PAGE}`);
      return { objects: requests.map(request => result(request.objectId)) };
    },
    'LedgerService/GetTransaction': (request: GrpcTypes.GetTransactionRequest) => ({
      transaction: transaction(request.digest),
    }),
    'LedgerService/GetEpoch': () => {
      const { startedMs } = ledger.epochClock();
      const epoch = {
        epoch: BigInt(ledger.suiEpoch()),
        referenceGasPrice: REFERENCE_GAS_PRICE,
        start: timestamp(startedMs ?? ledger.nowMs()),
      };
      return { epoch };
    },
    'LedgerService/GetCheckpoint': (request: GrpcTypes.GetCheckpointRequest) => {
      const newest = ledger.readSeq();
      const { checkpointId } = request;
      const wanted =
        checkpointId.oneofKind === 'sequenceNumber' ? Number(checkpointId.sequenceNumber) : newest;
      if (checkpointId.oneofKind === 'digest' || wanted > newest) throw notFound('Checkpoint');
      return { checkpoint: { sequenceNumber: BigInt(wanted), transactions: [] } };
    },
  };
};

const stateService = (ledger: Ledger): Handlers => {
  const { names } = ledger.machine.network;
  const balance = (owner: string, coinType: string): bigint => {
    const view = ledger.readView();
    let sum = 0n;
    for (let last = ''; ; ) {
      const coins = view.owned(owner, coinOf(coinType), last, 1000);
      for (const coin of coins) sum += balanceOf(coin)!;
      if (coins.length < 1000) return sum;
      last = coins.at(-1)!.id;
    }
  };
  const balanceIn = (owner: string, coinType: string): GrpcTypes.Balance => {
    const sum = balance(owner, coinType);
    return { coinType, balance: sum, coinBalance: sum, addressBalance: 0n };
  };
  const symbols = new Map([
    [SUI_TYPE, 'SUI'],
    [names.wal, 'WAL'],
  ]);
  return {
    'StateService/GetBalance': (request: GrpcTypes.GetBalanceRequest) => ({
      balance: balanceIn(addressIn(request.owner, 'owner'), typeIn(request.coinType, 'coin_type')),
    }),
    'StateService/ListBalances': (request: GrpcTypes.ListBalancesRequest) => {
      const owner = addressIn(request.owner, 'owner');
      const all = [...symbols.keys()].map(type => balanceIn(owner, type));
      return { balances: all.filter(entry => entry.balance !== 0n) };
    },
    'StateService/ListOwnedObjects': (request: GrpcTypes.ListOwnedObjectsRequest) => {
      const owner = addressIn(request.owner, 'owner');
      const type = request.objectType ? typeIn(request.objectType, 'object_type') : undefined;
      const limit = pageSize(request.pageSize);
      const found = ledger.readView().owned(owner, type, after(request.pageToken), limit + 1);
      const { objects, ...rest } = page(found, limit);
      return { objects: objects.map(object => objectToProto(names, object)), ...rest };
    },
    'StateService/ListDynamicFields': (request: GrpcTypes.ListDynamicFieldsRequest) => {
      const parent = addressIn(request.parent, 'parent');
      const limit = pageSize(request.pageSize);
      const found = ledger.store.children(parent, after(request.pageToken), limit + 1);
      const { objects, ...rest } = page(found, limit);
      const dynamicFields = objects.map(object => ({
        kind: GrpcTypes.DynamicField_DynamicFieldKind.FIELD,
        parent,
        fieldId: object.id,
        fieldObject: objectToProto(names, object),
        name: { value: fieldName(object, names.metadataField) },
      }));
      return { dynamicFields, ...rest };
    },
    'StateService/GetCoinInfo': (request: GrpcTypes.GetCoinInfoRequest) => {
      const coinType = typeIn(request.coinType, 'coin_type');
      const symbol = symbols.get(coinTypeOf(coinType) ?? coinType);
      if (symbol === undefined) throw notFound(`Coin type ${coinType}`);
      return { coinType, metadata: { decimals: 9, name: symbol, symbol } };
    },
  };
};

/** BCS of a dynamic field's name: behind the id, a byte vector for attributes, a u64 for states. */
const fieldName = (object: StoredObject, metadataField: string): Uint8Array => {
  if (object.type !== metadataField) return object.contents.subarray(32, 40);
  const { name } = MetadataField.parse(object.contents);
  return Uint8Array.of(name.length, ...name);
};

const executionService = (ledger: Ledger): Handlers => ({
  'TransactionExecutionService/ExecuteTransaction': async ({
    transaction,
    signatures,
  }: GrpcTypes.ExecuteTransactionRequest) => {
    const bytes = transaction?.bcs?.value;
    if (bytes === undefined) throw invalid('missing transaction.bcs');
    const signed = signatures.map(signature => {
      if (signature.bcs?.value === undefined) throw invalid('missing signatures.bcs');
      return signature.bcs.value;
    });
    const executed = await ledger.execute(bytes, signed);
    return { transaction: GrpcTypes.ExecutedTransaction.fromBinary(executed) };
  },
  'TransactionExecutionService/SimulateTransaction': (
    request: GrpcTypes.SimulateTransactionRequest,
  ) => {
    const { tx, digest, outcome } = ledger.simulate(request);
    return {
      transaction: {
        digest,
        transaction: transactionToProto(tx, digest),
        signatures: [],
        effects: effectsToProto(outcome, digest, ledger.suiEpoch()),
        balanceChanges: balanceChanges(outcome),
      },
      commandOutputs: [],
      suggestedGasPrice: REFERENCE_GAS_PRICE,
    };
  },
});

const packageService = (ledger: Ledger): Handlers => ({
  'MovePackageService/GetFunction': (request: GrpcTypes.GetFunctionRequest) => {
    const packageId = addressIn(request.packageId, 'package_id');
    const moduleName = required(request.moduleName, 'module_name');
    const name = required(request.name, 'name');
    const found = ledger.machine.packages.describe(packageId, moduleName, name);
    if (found === undefined) throw notFound(`Function ${packageId}::${moduleName}::${name}`);
    return { function: describeFunction(found, name) };
  },
});

/** All methods. */
export const serviceHandlers = (ledger: Ledger): Handlers => ({
  ...ledgerService(ledger),
  ...stateService(ledger),
  ...executionService(ledger),
  ...packageService(ledger),
});
