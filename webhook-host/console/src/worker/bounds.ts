// Bounds the memory of a core module, which a browser does not do by itself: its memories get a maximum. Beyond it memory.grow fails
// in the guest, as it does in a host.

const MEMORY_SECTION = 5;

/** A memory begins with more than it may have. */
export class MemoryLimit extends Error {}

/** Returns a core module each of whose memories has a maximum, in pages of 64 KiB. Throws `MemoryLimit` where one begins with more. */
export function bounded(module: Uint8Array, pages: number): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [module.subarray(0, 8)];
  let at = 8;
  while (at < module.length) {
    const id = module[at];
    const [size, body] = leb(module, at + 1);
    const end = body + size;
    if (id === MEMORY_SECTION) {
      const content = memories(module, body, pages);
      parts.push(Uint8Array.of(id, ...bytes(content.length)), Uint8Array.from(content));
    } else {
      parts.push(module.subarray(at, end));
    }
    at = end;
  }
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const result = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    result.set(part, offset);
    offset += part.length;
  }
  return result;
}

function memories(module: Uint8Array, body: number, pages: number): number[] {
  let [count, at] = leb(module, body);
  const content = bytes(count);
  for (; count > 0; count--) {
    const flags = module[at];
    let minimum: number, maximum = pages;
    [minimum, at] = leb(module, at + 1);
    if (flags & 1) [maximum, at] = leb(module, at);
    if (minimum > pages) throw new MemoryLimit();
    content.push(flags | 1, ...bytes(minimum), ...bytes(Math.min(maximum, pages)));
  }
  return content;
}

/** Reads an unsigned LEB128 number; returns it and where it ends. */
function leb(data: Uint8Array, at: number): [number, number] {
  let value = 0, shift = 0;
  for (;;) {
    const byte = data[at++];
    value += (byte & 0x7f) * 2 ** shift;
    shift += 7;
    if (byte < 0x80) return [value, at];
  }
}

function bytes(value: number): number[] {
  const result: number[] = [];
  do {
    const rest = Math.floor(value / 128);
    result.push((value % 128) | (rest ? 0x80 : 0));
    value = rest;
  } while (value);
  return result;
}
