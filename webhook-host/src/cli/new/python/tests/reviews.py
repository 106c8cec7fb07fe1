"""Reviews for tests: requests to create a Service, of which a test says only what matters to it."""

from dataclasses import fields

from wit_world.imports.review import Cluster, Namespace, Operation, Phase, PortRange, Resource, Review, User
from wit_world.imports.service import Metadata, Port, Service, ServiceType, Spec, Status


def service(**given) -> Service:
    """A Service of type ClusterIP. Fields of its metadata and spec can be given: service(labels=[("team", "a")])."""
    metadata = dict(name="web", namespace="default", labels=[], annotations=[], finalizers=[], owner_references=[])
    spec = dict(
        type=ServiceType.CLUSTER_IP,
        ports=[port(80)],
        selector=[("app", "web")],
        cluster_ips=[],
        ip_families=[],
        external_ips=[],
        external_traffic_policy_by_client=False,
        health_check_node_port_by_client=False,
        allocate_load_balancer_node_ports_by_client=False,
        load_balancer_source_ranges=[],
        publish_not_ready_addresses=False,
    )
    in_metadata = {field.name for field in fields(Metadata)}
    for name, value in given.items():
        (metadata if name in in_metadata else spec)[name] = value
    return Service(filled(Metadata, metadata), True, filled(Spec, spec), Status([], []))


def port(number: int, **given) -> Port:
    return filled(Port, dict(protocol="TCP", port=number, node_port_by_client="node_port" in given) | given)


def review(of: Service, old: Service | None = None, **given) -> Review:
    """A request to create a Service, or to update an old one."""
    return filled(
        Review,
        dict(
            phase=Phase.VALIDATING,
            operation=Operation.UPDATE if old else Operation.CREATE,
            resource=Resource.SERVICES,
            dry_run=False,
            user=User("jane", ["system:authenticated"], None, []),
            service=of,
            old_service=old,
            namespace=Namespace(of.metadata.namespace, [], True, None),
            cluster=Cluster(None, [], PortRange(30000, 32767)),
            time=0,
        )
        | given,
    )


def filled(record, given: dict):
    """A record of the contract. What is not given is None."""
    return record(**{field.name: None for field in fields(record)} | given)
