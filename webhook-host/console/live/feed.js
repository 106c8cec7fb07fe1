// @ts-check
// The host's events, by fetch instead of EventSource, because a request must be able to carry a bearer token.

/**
 * @typedef {{ event: string, data: string }} ServerEvent
 * @typedef {{ kind: 'open' } | { kind: 'lost', why: string } | { kind: 'token', why: string }} Connection
 */

/** The pauses before another attempt, in milliseconds. */
const PAUSES = [500, 1000, 2000, 5000];

/** The silence after which a connection counts as lost, in milliseconds: the host says something every 15 s. */
const SILENCE = 40_000;

/**
 * Returns the events of a response. They end with it.
 *
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<ServerEvent>}
 */
export async function* parse(body) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await within(SILENCE, reader.read());
    if (done) return;
    rest += decoder.decode(value, { stream: true });
    const blocks = rest.split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const found = { event: 'message', data: '' };
      for (const line of block.split('\n')) {
        if (line.startsWith('event: ')) found.event = line.slice(7);
        if (line.startsWith('data: ')) found.data += line.slice(6);
      }
      if (found.data) yield found;
    }
  }
}

/**
 * Asks for a path of the host's data.
 *
 * @param {string} path
 * @param {string} token
 * @param {AbortSignal} [signal]
 */
export function ask(path, token, signal) {
  /** @type {Record<string, string>} */
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  return fetch(path, { headers, cache: 'no-store', signal });
}

/**
 * Follows the host's events for as long as the page lives. Whatever ends a connection, another one is tried; without a token that counts,
 * it waits until there is one.
 *
 * @param {() => string} token
 * @param {(event: ServerEvent) => void} take
 * @param {(connection: Connection) => void} tell
 * @param {() => Promise<void>} login ends when the user has given another token
 */
export async function follow(token, take, tell, login) {
  for (let attempt = 0; ; attempt += 1) {
    const abort = new AbortController();
    let why = 'the host closed the connection';
    try {
      const response = await ask('console/events', token(), abort.signal);
      if (response.status === 401 || response.status === 403) {
        tell({ kind: 'token', why: (await response.text()).trim() });
        await login();
        attempt = -1;
        continue;
      }
      if (!response.ok || !response.body) throw new Error((await response.text()).trim() || `status ${response.status}`);
      tell({ kind: 'open' });
      for await (const event of parse(response.body)) {
        attempt = -1;
        take(event);
      }
    } catch (error) {
      why = error instanceof Error ? error.message : String(error);
    }
    abort.abort();
    // A stream that ends after a while is opened again at once.
    if (attempt >= 0) tell({ kind: 'lost', why });
    await pause(PAUSES[Math.min(Math.max(attempt, 0), PAUSES.length - 1)]);
  }
}

/** @param {number} time in milliseconds */
function pause(time) {
  return new Promise((done) => setTimeout(done, time));
}

/**
 * @template T
 * @param {number} time in milliseconds
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
async function within(time, promise) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('the host says nothing any more')), time);
  });
  try {
    return await Promise.race([promise, /** @type {Promise<never>} */ (late)]);
  } finally {
    clearTimeout(timer);
  }
}
