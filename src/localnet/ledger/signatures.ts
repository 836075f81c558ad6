/** Declarations of Move functions in the form of Sui's gRPC. */
import { GrpcTypes } from '@mysten/sui/grpc';
import { parseStructTag } from '@mysten/sui/utils';
import { ANY_COIN, type Signature } from './move/function.ts';

const Type = GrpcTypes.OpenSignatureBody_Type;

const scalar = (type: string) => Type[type.toUpperCase() as keyof typeof Type];

const body = (type: string): GrpcTypes.OpenSignatureBody => {
  if (type.startsWith('vector<')) {
    const item = body(type.slice('vector<'.length, -1));
    return { type: Type.VECTOR, typeParameterInstantiation: [item] };
  }
  const parameter: GrpcTypes.OpenSignatureBody = {
    type: Type.TYPE_PARAMETER,
    typeParameter: 0,
    typeParameterInstantiation: [],
  };
  if (type === ANY_COIN)
    return {
      type: Type.DATATYPE,
      typeName: ANY_COIN.slice(0, -'<T>'.length),
      typeParameterInstantiation: [parameter],
    };
  const known = scalar(type);
  if (known !== undefined) return { type: known, typeParameterInstantiation: [] };
  const open = type.indexOf('<');
  if (open < 0) return { type: Type.DATATYPE, typeName: type, typeParameterInstantiation: [] };
  const { typeParams } = parseStructTag(type);
  return {
    type: Type.DATATYPE,
    typeName: type.slice(0, open),
    typeParameterInstantiation: typeParams.length === 1 ? [body(type.slice(open + 1, -1))] : [],
  };
};

/** A function as GetFunction describes it. */
export const describeFunction = (
  signature: Signature,
  name: string,
): GrpcTypes.FunctionDescriptor => {
  const Reference = GrpcTypes.OpenSignature_Reference;
  return {
    name,
    visibility: GrpcTypes.FunctionDescriptor_Visibility.PUBLIC,
    isEntry: false,
    typeParameters: Array.from({ length: signature.typeParameters }, () => ({
      constraints: [],
      isPhantom: true,
    })),
    parameters: signature.parameters.map(({ by, type }) => ({
      ...(by === 'mut' && { reference: Reference.MUTABLE }),
      ...(by === 'ref' && { reference: Reference.IMMUTABLE }),
      body: body(type),
    })),
    returns: signature.returns.map(type => ({ body: body(type) })),
  };
};
