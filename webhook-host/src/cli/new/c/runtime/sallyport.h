// Texts and lists for policies in C.
//
// The contract's types are in bindings/policy.h. A text is a policy_string_t: UTF-8 with a length, not ended by a zero. Nothing
// needs to be freed: the host drops an instance, and all of its memory, after each review.
#pragma once

#include "policy.h"
#include <stdlib.h>
#include <string.h>

// A literal as a text.
#define TEXT(literal) ((policy_string_t){(uint8_t *)(literal), sizeof(literal) - 1})

// Texts, one after the other: CONCAT(TEXT("the label "), quote(label), TEXT(" is missing")).
#define CONCAT(...) \
  sallyport_concat((policy_string_t[]){__VA_ARGS__}, sizeof((policy_string_t[]){__VA_ARGS__}) / sizeof(policy_string_t))

// Adds an item to one of the contract's lists: PUSH(verdict->warnings, TEXT("careful")).
#define PUSH(list, ...) \
  do { \
    (list).ptr = sallyport_grow((list).ptr, (list).len, sizeof *(list).ptr); \
    (list).ptr[(list).len++] = (__VA_ARGS__); \
  } while (0)

// The value of a key in a list of pairs of texts, such as labels; NULL without that key.
#define VALUE_OF(pairs, key) sallyport_value_of((const policy_string_t *)(pairs).ptr, (pairs).len, (key))

// True if two texts are equal.
bool same(policy_string_t left, policy_string_t right);

// The number of characters, which is not that of bytes.
size_t characters(policy_string_t text);

// A number in decimal digits.
policy_string_t decimal(uint64_t number);

// A value as a message shows it: in quotes, escaped, cut after 64 characters. Whoever writes a Service must not be able to forge
// a line of a log or to hide a part of a message.
policy_string_t quote(policy_string_t text);

// A text as JSON, for the value of a patch.
policy_string_t json(policy_string_t text);

// A key as a JSON Pointer writes it (RFC 6901), for the path of a patch.
policy_string_t pointer(policy_string_t key);

policy_string_t sallyport_concat(const policy_string_t *texts, size_t count);
void *sallyport_grow(void *items, size_t count, size_t size);
const policy_string_t *sallyport_value_of(const policy_string_t *pairs, size_t count, policy_string_t key);
