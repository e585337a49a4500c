/**
 * What the published schema of OCSF 1.3.0 requires of the two classes that events go out in, and of the objects in them:
 * schema.ocsf.io/1.3.0, classes api_activity and authentication. Attributes that are not listed here are refused, so that
 * none is made up.
 */
type Kind = 'integer' | 'string' | 'timestamp' | 'ip' | 'any' | { readonly object: string } | { readonly list: string };

interface Shape {
  readonly required: Readonly<Record<string, Kind>>;
  readonly optional: Readonly<Record<string, Kind>>;
  readonly atLeastOne?: readonly string[];
}

const base = {
  required: {
    activity_id: 'integer',
    category_uid: 'integer',
    class_uid: 'integer',
    metadata: { object: 'metadata' },
    severity_id: 'integer',
    time: 'timestamp',
    type_uid: 'integer',
  },
  optional: {
    activity_name: 'string',
    category_name: 'string',
    class_name: 'string',
    message: 'string',
    severity: 'string',
    status: 'string',
    status_code: 'string',
    status_detail: 'string',
    status_id: 'integer',
    type_name: 'string',
    unmapped: 'any',
    http_request: { object: 'http_request' },
  },
} as const satisfies Shape;

const shapes: Readonly<Record<string, Shape>> = {
  api_activity: {
    required: {
      ...base.required,
      actor: { object: 'actor' },
      api: { object: 'api' },
      src_endpoint: { object: 'network_endpoint' },
    },
    optional: { ...base.optional, resources: { list: 'resource_details' } },
  },
  authentication: {
    required: { ...base.required, user: { object: 'user' } },
    optional: {
      ...base.optional,
      actor: { object: 'actor' },
      service: { object: 'service' },
      src_endpoint: { object: 'network_endpoint' },
    },
    atLeastOne: ['service', 'dst_endpoint'],
  },
  metadata: {
    required: { product: { object: 'product' }, version: 'string' },
    optional: {
      event_code: 'string',
      log_name: 'string',
      logged_time: 'timestamp',
      original_time: 'string',
      sequence: 'integer',
      uid: 'string',
    },
  },
  product: { required: { vendor_name: 'string' }, optional: { name: 'string', version: 'string' } },
  actor: {
    required: {},
    optional: { user: { object: 'user' }, session: { object: 'session' } },
    atLeastOne: ['process', 'user', 'invoked_by', 'session', 'app_name', 'app_uid'],
  },
  user: {
    required: {},
    optional: { name: 'string', credential_uid: 'string' },
    atLeastOne: ['account', 'name', 'uid'],
  },
  session: { required: {}, optional: { uid: 'string' } },
  api: {
    required: { operation: 'string' },
    optional: { service: { object: 'service' }, request: { object: 'request' }, response: { object: 'response' } },
  },
  service: { required: {}, optional: { name: 'string' }, atLeastOne: ['name', 'uid'] },
  request: { required: { uid: 'string' }, optional: {} },
  response: { required: {}, optional: { error: 'string' } },
  network_endpoint: {
    required: {},
    optional: { ip: 'ip', svc_name: 'string' },
    atLeastOne: ['ip', 'uid', 'name', 'hostname', 'svc_name', 'instance_uid', 'interface_uid', 'interface_name'],
  },
  resource_details: { required: {}, optional: { name: 'string' }, atLeastOne: ['name', 'uid'] },
  http_request: { required: {}, optional: { http_method: 'string', user_agent: 'string' } },
};

const activities: Readonly<Record<number, readonly number[]>> = {
  6003: [0, 1, 2, 3, 4, 99],
  3002: [0, 1, 2, 3, 4, 5, 6, 99],
};

/** What is wrong with an event, as `path: fault`; nothing for a valid one. */
export function ocsfFaults(event: Record<string, any>): string[] {
  const name = event.class_uid === 6003 ? 'api_activity' : event.class_uid === 3002 ? 'authentication' : null;
  if (name === null) return [`class_uid: ${event.class_uid} is neither 6003 nor 3002`];
  const faults = shapeFaults(event, name, '');
  const expect = (holds: boolean, fault: string) => void (holds || faults.push(fault));
  expect(event.category_uid === Math.floor(event.class_uid / 1000), 'category_uid: not that of the class');
  expect(event.type_uid === event.class_uid * 100 + event.activity_id, 'type_uid: not class_uid * 100 + activity_id');
  expect(activities[event.class_uid]?.includes(event.activity_id) === true, 'activity_id: unknown');
  expect([0, 1, 2, 3, 4, 5, 6, 99].includes(event.severity_id), 'severity_id: unknown');
  expect([0, 1, 2, 99].includes(event.status_id), 'status_id: unknown');
  expect(event.activity_id !== 99 || event.activity_name !== undefined, 'activity_name: required for Other');
  return faults;
}

function shapeFaults(value: unknown, name: string, path: string): string[] {
  const shape = shapes[name];
  if (shape === undefined) return [`${path}: ${name} is no object of the schema`];
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${path}: not an object`];
  const members = value as Record<string, unknown>;
  const faults = Object.keys(shape.required)
    .filter((member) => members[member] === undefined)
    .map((member) => `${path}/${member}: required`);
  if (shape.atLeastOne !== undefined && !shape.atLeastOne.some((member) => members[member] !== undefined)) {
    faults.push(`${path}: one of ${shape.atLeastOne.join(', ')} is required`);
  }
  for (const [member, given] of Object.entries(members)) {
    const kind = shape.required[member] ?? shape.optional[member];
    faults.push(...kindFaults(given, kind, `${path}/${member}`));
  }
  return faults;
}

function kindFaults(value: unknown, kind: Kind | undefined, path: string): string[] {
  if (kind === undefined) return [`${path}: no such attribute`];
  if (typeof kind === 'object') {
    if ('object' in kind) return shapeFaults(value, kind.object, path);
    if (!Array.isArray(value)) return [`${path}: not a list`];
    return value.flatMap((item, place) => shapeFaults(item, kind.list, `${path}/${place}`));
  }
  const fits = {
    any: () => true,
    string: () => typeof value === 'string' && value !== '',
    integer: () => Number.isSafeInteger(value),
    // Milliseconds: in seconds or microseconds it would lie in another age.
    timestamp: () => Number.isSafeInteger(value) && Number(value) > 1e12 && Number(value) < 1e13,
    ip: () => typeof value === 'string' && /^[0-9a-fA-F.:]+$/.test(value),
  }[kind]();
  return fits ? [] : [`${path}: not a ${kind}`];
}
