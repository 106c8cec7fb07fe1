// The runtime of a policy in C: memory, and what sallyport.h declares. There is no C library and no WASI: a policy imports nothing
// but the contract's log. Natively, for tests, the C library of the machine has what is between the first `#ifdef` and its end.

#include "sallyport.h"

#ifdef __wasm__

// Where the linker put the end of the data, which is where free memory begins.
extern unsigned char __heap_base;

static size_t next_free;

// Takes memory from the end and never reuses it. Traps when the host's limit (spec.limits.memory) is reached.
void *malloc(size_t size) {
  const size_t page = 65536;
  size_t begin = next_free ? next_free : (size_t)&__heap_base;
  begin = (begin + 15) & ~(size_t)15;
  size_t have = __builtin_wasm_memory_size(0) * page;
  if (size > SIZE_MAX - begin) abort();
  if (begin + size > have) {
    size_t pages = (begin + size - have + page - 1) / page;
    if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) abort();
  }
  next_free = begin + size;
  return (void *)begin;
}

// The old size is not known, but it ends before the new memory.
void *realloc(void *old, size_t size) {
  char *new = malloc(size);
  if (old) {
    size_t most = (size_t)(new - (char *)old);
    memcpy(new, old, size < most ? size : most);
  }
  return new;
}

void free(void *memory) { (void)memory; }

_Noreturn void abort(void) { __builtin_trap(); }

void *memcpy(void *to, const void *from, size_t size) {
  for (size_t i = 0; i < size; i++) ((char *)to)[i] = ((const char *)from)[i];
  return to;
}

void *memmove(void *to, const void *from, size_t size) {
  if ((char *)to <= (const char *)from) return memcpy(to, from, size);
  for (size_t i = size; i > 0; i--) ((char *)to)[i - 1] = ((const char *)from)[i - 1];
  return to;
}

void *memset(void *to, int byte, size_t size) {
  for (size_t i = 0; i < size; i++) ((char *)to)[i] = (char)byte;
  return to;
}

int memcmp(const void *left, const void *right, size_t size) {
  const unsigned char *a = left, *b = right;
  for (size_t i = 0; i < size; i++) {
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  }
  return 0;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length]) length++;
  return length;
}

// wit-bindgen's object file with the world defines it elsewhere. Here the linker reads the world from wit/.
void __component_type_object_force_link_policy(void) {}

#endif

bool same(policy_string_t left, policy_string_t right) {
  return left.len == right.len && memcmp(left.ptr, right.ptr, left.len) == 0;
}

size_t characters(policy_string_t text) {
  size_t count = 0;
  for (size_t i = 0; i < text.len; i++) count += (text.ptr[i] & 0xc0) != 0x80;
  return count;
}

policy_string_t sallyport_concat(const policy_string_t *texts, size_t count) {
  size_t length = 0;
  for (size_t i = 0; i < count; i++) length += texts[i].len;
  uint8_t *bytes = malloc(length), *end = bytes;
  for (size_t i = 0; i < count; i++) {
    memcpy(end, texts[i].ptr, texts[i].len);
    end += texts[i].len;
  }
  return (policy_string_t){bytes, length};
}

// Makes room for one more item. The room doubles, so that many items cost no more than twice their size.
void *sallyport_grow(void *items, size_t count, size_t size) {
  if (count == 0) return malloc(size);
  if (count & (count - 1)) return items;
  void *grown = malloc(2 * count * size);
  return memcpy(grown, items, count * size);
}

const policy_string_t *sallyport_value_of(const policy_string_t *pairs, size_t count, policy_string_t key) {
  for (size_t i = 0; i < count; i++) {
    if (same(pairs[2 * i], key)) return &pairs[2 * i + 1];
  }
  return NULL;
}

// Writes a number in the digits of a base at the end of a buffer. Returns where it begins.
static uint8_t *digits(uint8_t *end, uint64_t number, unsigned base) {
  do {
    *--end = (uint8_t) "0123456789abcdef"[number % base];
    number /= base;
  } while (number);
  return end;
}

policy_string_t decimal(uint64_t number) {
  uint8_t *buffer = malloc(20);
  uint8_t *begin = digits(buffer + 20, number, 10);
  return (policy_string_t){begin, (size_t)(buffer + 20 - begin)};
}

// A text in the making, with room for all that will be added.
typedef struct {
  uint8_t *begin, *end;
} writer;

static void put(writer *out, uint8_t byte) { *out->end++ = byte; }

static void put_all(writer *out, policy_string_t text) {
  memcpy(out->end, text.ptr, text.len);
  out->end += text.len;
}

static policy_string_t written(const writer *out) {
  return (policy_string_t){out->begin, (size_t)(out->end - out->begin)};
}

// Reads the character at an index of a text in UTF-8, and moves the index behind it.
static uint32_t character(policy_string_t text, size_t *index) {
  uint8_t first = text.ptr[(*index)++];
  unsigned more = first < 0xc0 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
  uint32_t code = more ? first & (0x3f >> more) : first;
  for (; more && *index < text.len; more--) code = code << 6 | (text.ptr[(*index)++] & 0x3f);
  return code;
}

policy_string_t quote(policy_string_t text) {
  enum { SHOWN = 64, LONGEST = sizeof "\\u{10ffff}" };
  uint8_t *bytes = malloc(SHOWN * LONGEST + sizeof "\"…\"");
  writer out = {bytes, bytes};
  put(&out, '"');
  size_t index = 0;
  for (size_t shown = 0; index < text.len; shown++) {
    if (shown == SHOWN) {
      put_all(&out, TEXT("…"));
      break;
    }
    uint32_t code = character(text, &index);
    if (code == '"' || code == '\\') put(&out, '\\');
    if (code >= ' ' && code <= '~') {
      put(&out, (uint8_t)code);
    } else {
      uint8_t buffer[8], *end = buffer + sizeof buffer, *begin = digits(end, code, 16);
      put_all(&out, TEXT("\\u{"));
      put_all(&out, (policy_string_t){begin, (size_t)(end - begin)});
      put(&out, '}');
    }
  }
  put(&out, '"');
  return written(&out);
}

policy_string_t json(policy_string_t text) {
  uint8_t *bytes = malloc(text.len * sizeof "\\u0000" + 2);
  writer out = {bytes, bytes};
  put(&out, '"');
  for (size_t i = 0; i < text.len; i++) {
    uint8_t byte = text.ptr[i];
    if (byte < ' ') {
      put_all(&out, TEXT("\\u00"));
      put(&out, (uint8_t) "01"[byte >> 4]);
      put(&out, (uint8_t) "0123456789abcdef"[byte & 15]);
      continue;
    }
    if (byte == '"' || byte == '\\') put(&out, '\\');
    put(&out, byte);
  }
  put(&out, '"');
  return written(&out);
}

policy_string_t pointer(policy_string_t key) {
  uint8_t *bytes = malloc(2 * key.len);
  writer out = {bytes, bytes};
  for (size_t i = 0; i < key.len; i++) {
    uint8_t byte = key.ptr[i];
    if (byte == '~' || byte == '/') {
      put(&out, '~');
      byte = byte == '~' ? '0' : '1';
    }
    put(&out, byte);
  }
  return written(&out);
}
