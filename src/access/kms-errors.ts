import { DaybookError } from '../errors.js';

/** What is known of an error that the AWS SDK rejects with. */
interface KmsFailure {
  /** KMS's code, such as `DisabledException`, or the name of an error on the way to it. */
  readonly name: string;
  /** Undefined where there was no answer. */
  readonly httpStatus: number | undefined;
}

function readFailure(error: unknown): KmsFailure {
  const { name, code, $metadata } = error as { name?: string; code?: unknown; $metadata?: { httpStatusCode?: number } };
  const httpStatus = $metadata?.httpStatusCode;
  // The system's own errors are all called 'Error'; their code, such as ECONNREFUSED, says more.
  const telling = httpStatus === undefined && typeof code === 'string' ? code : String(name);
  return { name: telling.slice(0, 100), httpStatus };
}

/** The bytes, or the encryption context, are not those that were encrypted. */
export function isAlteredCiphertext(error: unknown): boolean {
  return readFailure(error).name === 'InvalidCiphertextException';
}

export function isOfAnotherKey(error: unknown): boolean {
  return readFailure(error).name === 'IncorrectKeyException';
}

/** Refusals that stay until somebody does something, each with what. */
const remedies: Readonly<Record<string, string>> = {
  AccessDeniedException: 'Allow these credentials kms:DescribeKey, kms:Encrypt and kms:Decrypt on the key.',
  DisabledException: 'Enable the key in AWS KMS.',
  KMSInvalidStateException: 'The key is pending deletion, or not ready: cancel its deletion in AWS KMS at once.',
  NotFoundException: 'Correct DAYBOOK_KMS_KEY_ID and DAYBOOK_KMS_REGION: there is no such key in this region.',
  InvalidKeyUsageException: 'Use a symmetric key for encryption.',
  InvalidGrantTokenException: 'Renew the grant of these credentials.',
  UnrecognizedClientException: 'AWS does not know the access key: correct AWS_ACCESS_KEY_ID.',
  InvalidSignatureException: "Correct AWS_SECRET_ACCESS_KEY, and this machine's clock.",
  IncompleteSignatureException:
    'Something between this node and AWS KMS changes requests: correct DAYBOOK_KMS_ENDPOINT.',
  MissingAuthenticationTokenException: 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role.',
  ExpiredTokenException: 'Renew the session token of the credentials.',
  CredentialsProviderError:
    'No credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role.',
};

/** Answers about the moment: KMS throttles with a 400, as it refuses. */
const passing: ReadonlySet<string> = new Set([
  'ThrottlingException',
  'LimitExceededException',
  'RequestLimitExceeded',
  'KeyUnavailableException',
  'DependencyTimeoutException',
  'KMSInternalException',
]);

/**
 * An error of the SDK as one of the catalogue. KMS's own message is left out, for it can quote what was sent. `action` says what
 * was tried, such as `decrypt`.
 */
export function mapKmsError(error: unknown, action: string, keyId: string): DaybookError {
  if (error instanceof DaybookError) return error;
  const { name, httpStatus } = readFailure(error);
  const answer = httpStatus === undefined ? name : `${httpStatus} ${name}`;
  const failed = `AWS KMS did not ${action} with the key ${keyId} (${answer}).`;
  const options = { cause: error, details: { kmsCode: name, httpStatus } };
  const isRefusal = httpStatus !== undefined && httpStatus < 500 && httpStatus !== 429 && !passing.has(name);
  if (name in remedies || isRefusal) {
    const remedy = remedies[name] ?? 'Check that the endpoint is that of AWS KMS; this one does not take the request.';
    return new DaybookError('ROOT_KEY_REFUSED', `${failed} ${remedy}`, options);
  }
  const remedy = 'It is tried again; if it lasts, check the endpoint, the network, and the quota of requests.';
  return new DaybookError('ROOT_KEY_UNAVAILABLE', `${failed} ${remedy}`, options);
}
