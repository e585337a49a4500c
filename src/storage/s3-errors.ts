import { DaybookError } from '../errors.js';

/** What is known of an error that the AWS SDK rejects with. */
interface S3Failure {
  /** The store's code, such as `NoSuchBucket`, or the name of an error on the way to it. */
  readonly name: string;
  /** Undefined where there was no answer. */
  readonly httpStatus: number | undefined;
}

function readS3Failure(err: unknown): S3Failure {
  const { name, code, $metadata } = err as { name?: string; code?: unknown; $metadata?: { httpStatusCode?: number } };
  const httpStatus = $metadata?.httpStatusCode;
  // The system's own errors are all called 'Error'; their code, such as ECONNREFUSED, says more.
  const telling = httpStatus === undefined && typeof code === 'string' ? code : String(name);
  // The SDK gives this one no name of its own.
  if ((err as Error).message === 'Region is missing') return { name: 'RegionMissing', httpStatus };
  return { name: telling.slice(0, 100), httpStatus };
}

/** A store says so by its code. A bare 404 can come from anything that is no store. */
export function isAbsentObject(err: unknown): boolean {
  return ['NoSuchKey', 'NoSuchVersion'].includes(readS3Failure(err).name);
}

/** The mark that a removal left has no bytes to read, and what no store gave out is no version id. */
export function isAbsentVersion(err: unknown): boolean {
  return isAbsentObject(err) || ['MethodNotAllowed', 'InvalidArgument'].includes(readS3Failure(err).name);
}

/** The answer to HEAD has no body, so a missing bucket looks the same. */
export function isAbsentHead(err: unknown): boolean {
  return readS3Failure(err).httpStatus === 404;
}

/** The answers of stores that have no Object Lock, or have it switched off for the bucket or the version. */
export function isWithoutLock(err: unknown): boolean {
  const { name, httpStatus } = readS3Failure(err);
  return (
    ['ObjectLockConfigurationNotFoundError', 'NoSuchObjectLockConfiguration', 'InvalidRequest'].includes(name) ||
    httpStatus === 501
  );
}

/** The store saw the condition of a write, and it did not hold. */
export function isPreconditionFailed(err: unknown): boolean {
  return readS3Failure(err).httpStatus === 412;
}

const remedies: Readonly<Record<string, string>> = {
  NoSuchBucket: 'Create the bucket, or correct its name.',
  InvalidAccessKeyId: 'The store does not know the access key. Correct AWS_ACCESS_KEY_ID.',
  SignatureDoesNotMatch: 'The secret does not belong to the access key. Correct AWS_SECRET_ACCESS_KEY.',
  RequestTimeTooSkewed: "Set this machine's clock: it differs from the store's by more than 15 minutes.",
  ExpiredToken: 'Renew the session token of the credentials.',
  CredentialsProviderError: 'No credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.',
  RegionMissing: 'Set the region: AWS_REGION, or that of the store.',
  PermanentRedirect: 'The bucket is in another region: correct the region.',
  AuthorizationHeaderMalformed: 'The bucket is in another region: correct the region.',
};
const remedyOf403 =
  'Allow the key s3:GetObject, PutObject, DeleteObject, ListBucket, ListBucketVersions, GetObjectVersion, DeleteObjectVersion, GetBucketVersioning, GetBucketObjectLockConfiguration, PutObjectRetention and GetObjectRetention on the bucket. A version under Object Lock cannot be removed whatever is allowed.';

/**
 * An error of the SDK as one of the catalogue. The store's own message is left out, for it can quote what was sent.
 * `action` says what was tried, such as `read a/b`.
 */
export function mapS3Error(err: unknown, action: string, description: string): DaybookError {
  if (err instanceof DaybookError) return err;
  const { name, httpStatus } = readS3Failure(err);
  const answer = httpStatus === undefined ? name : `${httpStatus} ${name}`;
  const failed = `${description} did not ${action} (${answer}).`;
  const options = { cause: err, details: { storeCode: name, httpStatus } };
  if (httpStatus === 412 || httpStatus === 409) {
    return new DaybookError('OBJECT_CHANGED', `${failed} Another writer was faster: read the object again.`, options);
  }
  if (name in remedies || isRefusal(httpStatus, name)) {
    const remedy =
      remedies[name] ??
      (httpStatus === 403
        ? remedyOf403
        : 'Check that the endpoint is that of an S3 store; this one does not support the request.');
    return new DaybookError('OBJECT_STORE_REFUSED', `${failed} ${remedy}`, options);
  }
  return new DaybookError(
    'OBJECT_STORE_UNAVAILABLE',
    `${failed} Try again; if it lasts, check the endpoint, the network and the store.`,
    options,
  );
}

/** The same request will be refused again. 429 and RequestTimeout (a 400 of Amazon's) are about the moment. */
function isRefusal(httpStatus: number | undefined, name: string): boolean {
  if (httpStatus === undefined || name === 'RequestTimeout') return false;
  return httpStatus === 501 || (httpStatus >= 300 && httpStatus < 500 && httpStatus !== 408 && httpStatus !== 429);
}
