// A real OpenID Connect provider for tests/it/auth: https, JSON Web Tokens as access tokens, keys in a
// file so that they outlive the process and can be rotated.
//
//   node provider.mjs '{"port": 1, "issuer": "https://localhost:1", "tls": "server", "keys": "keys.json"}'
//
// It says `ready` when it listens. Each line that it reads is a command, and gets one line back:
//   token ALG AUDIENCE     an access token, from its own token endpoint, by client credentials
//   user ALG AUDIENCE      an access token of the user alice, by authorization code with PKCE
//   id                     alice's ID token
//   browse URL             alice opens this address, logs in, and is sent back to who asked
//   refuse URL             the same, but she refuses
//   enter CODE             alice types a device's code and logs in
//   abort CODE             the same, but she aborts
//   active TOKEN           whether the provider still knows a refresh token
//   jwks                   the published key set
//   rotate                 makes new keys for the next start, and keeps the old ones beside them
//   forget                 keeps only the newest keys from the next start on
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import readline from 'node:readline';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

const config = JSON.parse(process.argv[2]);
const ca = config.ca && readFileSync(config.ca);

const made = async (alg) => {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: randomBytes(8).toString('hex') };
};
const generation = () => Promise.all(['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'].map(made));
const write = (keys) => writeFileSync(config.keys, JSON.stringify(keys), { mode: 0o600 });
if (!existsSync(config.keys)) write(await generation());
const keys = JSON.parse(readFileSync(config.keys));

const redirect = 'http://127.0.0.1/callback';
const scope = 'call';
// The algorithm comes with the resource, so that one provider can be asked for each.
const resource = (alg, audience) => `urn:test:${alg}:${audience}`;
const provider = new Provider(config.issuer, {
  jwks: { keys },
  clients: [
    { client_id: 'robot', client_secret: 'robot-secret', grant_types: ['client_credentials'],
      redirect_uris: [], response_types: [], token_endpoint_auth_method: 'client_secret_basic' },
    { client_id: 'cli', token_endpoint_auth_method: 'none', application_type: 'native',
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      redirect_uris: [redirect], response_types: ['code'] },
  ],
  cookies: { keys: ['for tests alone'] },
  claims: { openid: ['sub'], groups: ['groups'] },
  findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id, groups: ['payments'] }) }),
  extraTokenClaims: () => ({ groups: ['payments'] }),
  pkce: { required: () => true },
  ttl: { AccessToken: 600, ClientCredentials: 600, IdToken: 600 },
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (_context, indicator) => {
        const [, , alg, ...audience] = indicator.split(':');
        return { scope, audience: audience.join(':'), accessTokenFormat: 'jwt',
          accessTokenTTL: config.seconds ?? 600, jwt: { sign: { alg } } };
      },
    },
  },
});

const fetched = (url, { method = 'GET', headers = {}, body } = {}) =>
  new Promise((resolve, reject) => {
    const request = https.request(url, { method, headers, ca }, (response) => {
      let text = '';
      response.on('data', (part) => { text += part; });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    request.on('error', reject);
    request.end(body);
  });
const form = (fields) => ({
  method: 'POST', body: new URLSearchParams(fields).toString(),
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
});
const token = async (fields, headers = {}) => {
  const asked = form(fields);
  const answer = await fetched(`${config.issuer}/token`, { ...asked, headers: { ...asked.headers, ...headers } });
  if (answer.status !== 200) throw new Error(answer.text);
  return JSON.parse(answer.text);
};

// What a person does in a browser, as alice: cookies, redirects and forms.
const browser = () => {
  const jar = new Map();
  const cookie = () => [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
  return async (url, options = {}) => {
    const answer = await fetched(url, { ...options, headers: { ...options.headers, cookie: cookie() } });
    for (const line of answer.headers['set-cookie'] ?? []) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      jar.set(name, value);
    }
    return answer;
  };
};
// Logs in and consents, or refuses, until `arrived` says so of an address or a page.
const visited = async (step, url, answer, arrived, refuses = false) => {
  for (let turn = 0; turn < 14; turn += 1) {
    if (answer.headers.location) {
      url = new URL(answer.headers.location, url).href;
      if (arrived(url)) return url;
      answer = await step(url);
    } else if (arrived(url, answer)) {
      return url;
    } else {
      if (!/name="prompt"/.test(answer.text)) throw new Error(`${answer.status} ${answer.text}`);
      const prompt = /name="prompt" value="([a-z]+)"/.exec(answer.text)[1];
      const action = /action="([^"]+)"/.exec(answer.text)[1];
      url = new URL(action, url).href;
      answer = refuses ? await step(`${url}/abort`)
        : await step(url, form({ prompt, login: 'alice', password: 'any' }));
    }
  }
  throw new Error('the provider never came back');
};
const code = async (parameters) => {
  const verifier = randomBytes(32).toString('base64url');
  const challenge = createHash('sha256').update(verifier).digest('base64url');
  const query = new URLSearchParams({ client_id: 'cli', response_type: 'code', redirect_uri: redirect,
    code_challenge: challenge, code_challenge_method: 'S256', ...parameters });
  const url = `${config.issuer}/auth?${query}`;
  const step = browser();
  const end = await visited(step, url, await step(url), (at) => at.startsWith(redirect));
  const back = new URL(end).searchParams;
  if (!back.has('code')) throw new Error(end);
  return { code: back.get('code'), code_verifier: verifier };
};
// The page that a program of the person's own shows.
const shown = (url) => new Promise((resolve, reject) => {
  http.get(url, (response) => {
    let text = '';
    response.on('data', (part) => { text += part; });
    response.on('end', () => resolve(`${response.statusCode} ${text}`));
  }).on('error', reject);
});
const browsed = async (url, refuses) => {
  const step = browser();
  const back = (at) => at.startsWith('http://127.0.0.1:');
  return shown(await visited(step, url, await step(url), back, refuses));
};
const entered = async (typed, aborts) => {
  const step = browser();
  const page = `${config.issuer}/device`;
  const xsrf = /name="xsrf" value="([^"]+)"/.exec((await step(page)).text)[1];
  await step(page, form({ xsrf, user_code: typed }));
  const last = { xsrf, user_code: typed, ...(aborts ? { abort: 'yes' } : { confirm: 'yes' }) };
  const answer = await step(page, form(last));
  if (aborts) return 'aborted';
  const success = (at, got) => got && !/name="prompt"/.test(got.text) && got.status === 200;
  await visited(step, page, answer, success);
  return 'entered';
};
const redeemed = async (got, extra = {}) =>
  token({ grant_type: 'authorization_code', client_id: 'cli', redirect_uri: redirect, ...got, ...extra });

const basic = { authorization: `Basic ${Buffer.from('robot:robot-secret').toString('base64')}` };
const commands = {
  token: async (alg, audience) => (await token(
    { grant_type: 'client_credentials', scope, resource: resource(alg, audience) }, basic)).access_token,
  user: async (alg, audience) => {
    const asked = resource(alg, audience);
    return (await redeemed(await code({ scope, resource: asked }), { resource: asked })).access_token;
  },
  id: async () => (await redeemed(await code({ scope: 'openid' }))).id_token,
  browse: (url) => browsed(url, false),
  refuse: (url) => browsed(url, true),
  enter: (typed) => entered(typed, false),
  abort: (typed) => entered(typed, true),
  active: async (refresh) => String(Boolean(await provider.RefreshToken.find(refresh))),
  jwks: async () => JSON.stringify(JSON.parse((await fetched(`${config.issuer}/jwks`)).text)),
  rotate: async () => { write([...(await generation()), ...keys]); return 'done'; },
  forget: async () => { write(JSON.parse(readFileSync(config.keys)).slice(0, 5)); return 'done'; },
};

const tls = { cert: readFileSync(`${config.tls}.pem`), key: readFileSync(`${config.tls}.key`) };
https.createServer(tls, provider.callback()).listen(config.port, '127.0.0.1', () => console.log('ready'));
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [command, ...given] = line.split(' ');
  try {
    console.log(await commands[command](...given));
  } catch (error) {
    console.log(`error ${String(error.message).replaceAll('\n', ' ')}`);
  }
}
process.exit(0);
