import { CreateBucketCommand, PutBucketVersioningCommand, S3Client } from '@aws-sdk/client-s3';
import type { ObjectLockServer } from './object-lock-server.js';

/** What a bucket keeps: every version under locks, every version, or the latest only. */
export type BucketKind = 'locking' | 'versioned' | 'plain';

let buckets = 0;

/** A raw client of the server, with the rights of its owner. */
export function s3ClientOf(server: ObjectLockServer): S3Client {
  return new S3Client({ endpoint: server.endpoint, region: 'us-east-1', forcePathStyle: true, credentials: server });
}

/** Makes an empty bucket and returns its name. */
export async function createTestBucket(client: S3Client, kind: BucketKind): Promise<string> {
  const Bucket = `${kind}-${(buckets += 1)}`;
  await client.send(new CreateBucketCommand({ Bucket, ObjectLockEnabledForBucket: kind === 'locking' }));
  if (kind === 'versioned') {
    await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }));
  }
  return Bucket;
}

/** The service takes its credentials from where the AWS SDK looks for them: the environment, until disposal. */
export function provideCredentials(server: ObjectLockServer): Disposable {
  const given = { AWS_ACCESS_KEY_ID: server.accessKeyId, AWS_SECRET_ACCESS_KEY: server.secretAccessKey };
  const before = Object.keys(given).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, given);
  return {
    [Symbol.dispose]: () => {
      for (const [name, value] of before) {
        if (value === undefined) Reflect.deleteProperty(process.env, name);
        else process.env[name] = value;
      }
    },
  };
}
