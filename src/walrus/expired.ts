/**
 * Blobs whose paid time is over: nodes may still hold them, and need not. Whether that is why a read
 * failed is asked of the chain, for somebody else may have paid for more since.
 */
import { within } from '../base/abort.ts';
import { TuskError } from '../base/errors.ts';
import type { BlobId, Epoch, SuiId } from '../base/ids.ts';
import type { Network } from './network.ts';

/** The chain's answer is waited for so long: the reader has waited enough. */
const ASK_MS = 800;

/** A blob and until when this machine knows it to be paid. */
export interface PaidBlob {
  readonly blobId: BlobId;
  readonly objectId: SuiId;
  /** First epoch that is not paid. */
  readonly endEpoch: Epoch;
}

/** The error of a read that failed: `expired` if the blob's paid time is over, else as it was. */
export const unlessExpired = async (
  network: Pick<Network, 'prices' | 'blobObjects'>,
  { blobId, objectId, endEpoch }: PaidBlob,
  failure: unknown,
): Promise<unknown> => {
  if (!(failure instanceof TuskError) || !['too_few_shards', 'timeout'].includes(failure.code))
    return failure;
  try {
    return await within(undefined, ASK_MS, async signal => {
      const { epoch } = await network.prices(signal);
      if (epoch < endEpoch) return failure;
      const [object] = await network.blobObjects([objectId], signal);
      if (object !== undefined && epoch < object.endEpoch) return failure;
      return new TuskError(
        'expired',
        `blob ${blobId} was paid until the end of epoch ${endEpoch - 1}, and it is epoch ${epoch}: storage nodes need not hold it any more, and too few of them do. What of it is cached on this machine can still be read, and everything else on the drive is as safe as before; what cannot be read comes back only by writing it anew from another copy`,
        { cause: failure, details: { blobId, endEpoch, epoch } },
      );
    });
  } catch {
    return failure;
  }
};
