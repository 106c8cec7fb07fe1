// The policy service-type (S01, M1) in C. Its Rust twin is policies/service-type.

#include "sallyport.h"

static policy_settings_t settings;

// The name that Kubernetes has for a type.
static policy_string_t name_of(service_service_type_t type) {
  switch (type) {
    case SERVICE_SERVICE_TYPE_CLUSTER_IP: return TEXT("ClusterIP");
    case SERVICE_SERVICE_TYPE_NODE_PORT: return TEXT("NodePort");
    case SERVICE_SERVICE_TYPE_LOAD_BALANCER: return TEXT("LoadBalancer");
    default: return TEXT("ExternalName");
  }
}

void exports_policy_describe(exports_policy_description_t *description) {
  static review_phase_t phases[] = {REVIEW_PHASE_VALIDATING, REVIEW_PHASE_MUTATING};
  static review_operation_t operations[] = {REVIEW_OPERATION_CREATE, REVIEW_OPERATION_UPDATE};
  static review_resource_t resources[] = {REVIEW_RESOURCE_SERVICES};
  *description = (exports_policy_description_t){
      .name = TEXT("service-type"),
      .version = TEXT("0.1.0"),
      .phases = {phases, 2},
      .operations = {operations, 2},
      .resources = {resources, 1},
  };
}

void exports_policy_defaults(policy_settings_t *defaults) {
  *defaults = (policy_settings_t){0};
  for (service_service_type_t type = 0; type <= SERVICE_SERVICE_TYPE_EXTERNAL_NAME; type++) {
    PUSH(defaults->allowed_types, type);
  }
}

// RFC 1123, as the Rust SDK's names::namespaces.
static bool names_a_namespace(policy_string_t name) {
  if (name.len == 0 || name.len > 63) return false;
  for (size_t i = 0; i < name.len; i++) {
    uint8_t c = name.ptr[i];
    bool inside = i > 0 && i + 1 < name.len;
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c == '-' && inside))) return false;
  }
  return true;
}

static policy_string_t path_of(policy_string_t namespace) {
  return CONCAT(TEXT("perNamespace["), quote(namespace), TEXT("]"));
}

static void check_types(policy_string_t path, policy_list_service_type_t types, policy_list_settings_error_t *errors) {
  if (types.len > 0) return;
  policy_string_t problem = TEXT("an empty list allows no Service at all; name at least one type");
  PUSH(*errors, (policy_settings_error_t){path, problem});
}

bool exports_policy_configure(policy_settings_t *given, policy_list_settings_error_t *errors) {
  *errors = (policy_list_settings_error_t){0};
  check_types(TEXT("allowedTypes"), given->allowed_types, errors);
  for (size_t i = 0; i < given->per_namespace.len; i++) {
    check_types(path_of(given->per_namespace.ptr[i].f0), given->per_namespace.ptr[i].f1, errors);
  }
  for (size_t i = 0; i < given->per_namespace.len; i++) {
    policy_string_t name = given->per_namespace.ptr[i].f0;
    if (names_a_namespace(name)) continue;
    policy_string_t problem = TEXT(
        "no namespace can have this name, so that it has no effect; write the names one by one, without patterns");
    PUSH(*errors, (policy_settings_error_t){path_of(name), problem});
  }
  settings = *given;
  return errors->len == 0;
}

static policy_list_service_type_t allowed_in(policy_string_t namespace) {
  for (size_t i = 0; i < settings.per_namespace.len; i++) {
    if (same(settings.per_namespace.ptr[i].f0, namespace)) return settings.per_namespace.ptr[i].f1;
  }
  return settings.allowed_types;
}

void exports_policy_validate(exports_policy_review_t *review, exports_policy_verdict_t *verdict) {
  *verdict = (exports_policy_verdict_t){0};
  service_option_service_type_t given = review->service.spec.type;
  service_service_type_t type = given.is_some ? given.val : SERVICE_SERVICE_TYPE_CLUSTER_IP;
  policy_list_service_type_t allowed = allowed_in(review->namespace_.name);
  policy_string_t fix = TEXT("use ");
  for (size_t i = 0; i < allowed.len; i++) {
    if (allowed.ptr[i] == type) return;
    fix = CONCAT(fix, i > 0 ? TEXT(" or ") : TEXT(""), name_of(allowed.ptr[i]));
  }
  PUSH(verdict->violations, (verdict_violation_t){
      .rule = TEXT("S01"),
      .key = name_of(type),
      .field = TEXT("spec.type"),
      .message = CONCAT(name_of(type), TEXT(" is not allowed in namespace "), quote(review->namespace_.name)),
      .fix = fix,
  });
}

static void add(exports_policy_verdict_t *verdict, policy_string_t path, policy_string_t value) {
  verdict_patch_operation_t operation = {.tag = VERDICT_PATCH_OPERATION_ADD, .val.add = {path, value}};
  PUSH(verdict->patch, operation);
}

// Only raw manifests can lack a type: a live API server has set the default before any webhook runs.
void exports_policy_mutate(exports_policy_review_t *review, exports_policy_verdict_t *verdict) {
  *verdict = (exports_policy_verdict_t){0};
  if (review->service.spec.type.is_some) return;
  if (!review->service.has_spec) add(verdict, TEXT("/spec"), TEXT("{}"));
  add(verdict, TEXT("/spec/type"), json(name_of(SERVICE_SERVICE_TYPE_CLUSTER_IP)));
}
