// The page's state, and the link that carries it: `#v1=` and the state as deflated JSON. It stays in the fragment, which no browser sends.

import type { Request } from './messages';

/** What the user wrote. */
export type State = Omit<Request, 'now'>;

const VERSION = 'v1';
/** Characters of a state that a link may unfold to: five times what the page judges. */
const MAX_STATE = 5 << 20;

/** Returns the fragment that carries a state. */
export async function toFragment(state: State): Promise<string> {
  const stream = new Blob([JSON.stringify(state)]).stream().pipeThrough(new CompressionStream('deflate-raw'));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return `#${VERSION}=${btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')}`;
}

/** Reads a fragment; undefined where there is none. Throws an error that says why it can't be read. */
export async function fromFragment(fragment: string): Promise<State | undefined> {
  if (fragment.length < 2) return undefined;
  const [version, data] = fragment.slice(1).split('=', 2);
  if (!/^v\d+$/.test(version)) return undefined;
  if (version !== VERSION) throw new Error(`the link is of version ${version}, and this page reads ${VERSION}; open it with the page that made it`);
  try {
    const bytes = Uint8Array.from(atob(data.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0));
    return valid(JSON.parse(await inflated(bytes)));
  } catch {
    throw new Error('the link is damaged; copy it whole');
  }
}

/** Inflates within a bound, since a short link may unfold to gigabytes. */
async function inflated(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw')).getReader();
  const decoder = new TextDecoder();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    text += decoder.decode(value, { stream: true });
    if (text.length > MAX_STATE) throw new Error('too large');
  }
}

function valid(state: State): State {
  const texts = [state.objects, state.old, state.policies, state.config, state.user.username, ...state.user.groups];
  if (!texts.every((text) => typeof text === 'string')) throw new Error('not a state');
  const { objects, old, policies, config, user } = state;
  return { objects, old, policies, config, user: { username: user.username, groups: user.groups } };
}
