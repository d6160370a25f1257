// A certified OAuth 2 / OpenID Connect server (oidc-provider) that nobody here wrote, for end-to-end tests.
//
//   node server.mjs [--exit-with-stdin]
//
// listens on 127.0.0.1:$PORT (0, the default: a free port) and prints one JSON line, {"listening":"http://127.0.0.1:…"}.
// With --exit-with-stdin it ends when standard input closes, so that a killed test leaves no orphan.
//
// The server itself is unmodified: code + PKCE (required), `iss` in the callback, refresh-token rotation where reuse
// revokes the whole grant, revocation, introspection, dynamic registration. Around it:
//   POST /reg           dynamic registration (RFC 7591); headers x-client-id and x-client-secret choose both
//   GET  /api/me        who the bearer is, checked by introspection (RFC 7662)
//   ANY  /api/echo      the request as JSON, credentials included
//   GET  /__counters    what happened
//   POST /__settings    {"access_ttl_s", "token_delay_ms", "rotate"}, with "client" for one client only,
//                       and {"lose_replies"} for all
//   POST /__expire      {"kind": "access" | "code" | "refresh"}: every one issued so far is gone
// Consent stays what the library shows a person: two HTML forms and a cookie. The tests fill them in.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const server = createServer();
await new Promise((resolve, reject) => {
  server.once('error', reject);
  server.listen(Number(process.env.PORT || 0), '127.0.0.1', resolve);
});
const issuer = `http://127.0.0.1:${server.address().port}`;

// The library prints now and then; a test that has read the address reads no more.
process.stdout.on('error', () => {});

const counters = {
  token: 0, // calls to the token endpoint
  codes: 0, // codes redeemed
  refreshes: 0, // refresh tokens redeemed
  revocations: 0, // calls to the revocation endpoint
  grants_revoked: 0, // grants that ended, by revocation or by reuse
  api: 0, // calls to /api
  api_refused: 0, // of them answered 401
  errors: {}, // OAuth error codes sent by the token endpoint
};
// `lose_replies`: that many token calls, of any client, are carried out, and their connection is cut before the reply.
const defaults = {
  access_ttl_s: Number(process.env.AT_TTL || 60),
  token_delay_ms: Number(process.env.TOKEN_DELAY_MS || 0),
  rotate: process.env.ROTATE !== '0',
  lose_replies: 0,
};
const perClient = new Map();
const settings = (client) => ({ ...defaults, ...perClient.get(client) });
const issued = { access: new Set(), code: new Set(), refresh: new Set() };
const resourceServer = { id: 'resource-server', secret: randomBytes(18).toString('base64url') };

const provider = new Provider(issuer, {
  clients: [{
    client_id: resourceServer.id,
    client_secret: resourceServer.secret,
    grant_types: [],
    response_types: [],
    redirect_uris: [],
  }],
  scopes: ['openid', 'offline_access', 'profile', 'email', 'api:read', 'api:write'],
  claims: { openid: ['sub'], email: ['email'], profile: ['name'] },
  cookies: { keys: [randomBytes(18).toString('base64url')] },
  pkce: { required: () => true },
  rotateRefreshToken: (ctx) => settings(ctx.oidc.client.clientId).rotate,
  issueRefreshToken: async (ctx, client) => client.grantTypeAllowed('refresh_token'),
  ttl: {
    AccessToken: (ctx, token, client) => settings(client.clientId).access_ttl_s,
    AuthorizationCode: 60,
    RefreshToken: 86400,
    Grant: 86400,
    Session: 86400,
    Interaction: 3600,
    IdToken: 3600,
  },
  features: {
    devInteractions: { enabled: true },
    revocation: { enabled: true },
    introspection: { enabled: true },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    pushedAuthorizationRequests: { enabled: true },
    registration: {
      enabled: true,
      idFactory: (ctx) => ctx.get('x-client-id') || randomBytes(9).toString('base64url'),
      secretFactory: (ctx) => ctx.get('x-client-secret') || randomBytes(18).toString('base64url'),
    },
  },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@example.com`, name: id }) }),
});

provider.on('access_token.saved', (token) => issued.access.add(token.jti));
provider.on('authorization_code.saved', (token) => issued.code.add(token.jti));
provider.on('refresh_token.saved', (token) => issued.refresh.add(token.jti));
provider.on('grant.revoked', () => { counters.grants_revoked += 1; });
provider.on('grant.success', (ctx) => {
  if (ctx.oidc.params.grant_type === 'authorization_code') counters.codes += 1;
  if (ctx.oidc.params.grant_type === 'refresh_token') counters.refreshes += 1;
});
provider.on('grant.error', (ctx, error) => {
  counters.errors[error.error] = (counters.errors[error.error] || 0) + 1;
});

const models = { access: provider.AccessToken, code: provider.AuthorizationCode, refresh: provider.RefreshToken };
async function expire(kind) {
  if (!models[kind]) throw new Error(`kind must be one of ${Object.keys(models)}`);
  let gone = 0;
  for (const id of issued[kind]) {
    const token = await models[kind].find(id);
    if (token) {
      await token.destroy();
      gone += 1;
    }
  }
  issued[kind].clear();
  return { gone };
}

async function bearer(authorization) {
  const token = /^Bearer (\S+)$/.exec(authorization || '')?.[1];
  if (!token) return undefined;
  const basic = Buffer.from(`${resourceServer.id}:${resourceServer.secret}`).toString('base64');
  const reply = await fetch(`${issuer}/token/introspection`, {
    method: 'POST',
    headers: { authorization: `Basic ${basic}`, 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ token, token_type_hint: 'access_token' }),
  });
  const facts = await reply.json();
  if (!reply.ok) throw new Error(`introspection answered ${reply.status}: ${JSON.stringify(facts)}`);
  return facts.active ? facts : undefined;
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function json(response, status, value, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(value));
}

async function api(request, response, path) {
  counters.api += 1;
  const who = await bearer(request.headers.authorization);
  if (!who) {
    counters.api_refused += 1;
    return json(response, 401, { error: 'invalid_token' }, { 'www-authenticate': 'Bearer error="invalid_token"' });
  }
  if (path === '/api/me') {
    return json(response, 200, { sub: who.sub, email: `${who.sub}@example.com`, scope: who.scope });
  }
  if (path === '/api/echo') {
    return json(response, 200, { method: request.method, url: request.url, headers: request.headers, body: await body(request) });
  }
  return json(response, 404, { error: 'not_found' });
}

const oidc = provider.callback();
async function route(request, response) {
  const { pathname } = new URL(request.url, issuer);
  if (pathname.startsWith('/api/')) return api(request, response, pathname);
  if (pathname === '/__counters') return json(response, 200, counters);
  if (pathname === '/__settings') {
    const { client, ...wanted } = JSON.parse(await body(request));
    for (const key of Object.keys(wanted)) {
      if (!(key in defaults)) return json(response, 400, { error: `no setting is called ${key}` });
    }
    if (client) perClient.set(client, { ...perClient.get(client), ...wanted });
    else Object.assign(defaults, wanted);
    return json(response, 200, settings(client));
  }
  if (pathname === '/__expire') return json(response, 200, await expire(JSON.parse(await body(request)).kind));
  if (pathname === '/token') {
    counters.token += 1;
    const id = Buffer.from((request.headers.authorization || '').replace(/^Basic /, ''), 'base64').toString().split(':')[0];
    const { token_delay_ms } = settings(id);
    if (token_delay_ms) await new Promise((resolve) => setTimeout(resolve, token_delay_ms));
    if (defaults.lose_replies > 0) {
      defaults.lose_replies -= 1;
      response.end = () => { request.socket.destroy(); return response; };
    }
  }
  if (pathname === '/token/revocation') counters.revocations += 1;
  return oidc(request, response);
}

server.on('request', (request, response) => {
  route(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) json(response, 500, { error: String(error.message || error) });
  });
});
if (process.argv.includes('--exit-with-stdin')) {
  process.stdin.resume();
  process.stdin.once('close', () => process.exit(0));
}
console.log(JSON.stringify({ listening: issuer }));
