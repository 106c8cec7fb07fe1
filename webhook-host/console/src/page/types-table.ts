// What the three types mean for one Service: who reaches it, at which port and address, what serves it, and if the cluster allows it.

import { el, printable } from './dom';
import type { AppliedService, Cluster } from './messages';
import type { Service } from './service';

/** Reasons that are shown for one type, and fields that are named. */
const MAX_REASONS = 12;
const MAX_FIELDS = 3;
const TYPES = ['ClusterIP', 'NodePort', 'LoadBalancer'] as const;

/** Returns the comparison as a table. */
export function typesTable(applied: AppliedService, cluster: Cluster): HTMLElement {
  const rows = rowsOf(applied.object, cluster);
  const current = applied.object.spec?.type ?? 'ClusterIP';
  const mark = (type: string): Record<string, string> => (type === current ? { class: 'current' } : {});
  const allowed = TYPES.map((type) => {
    const verdict = applied.types.find((it) => it.type === type);
    const cell = el('td', mark(type));
    if (!verdict) return cell;
    cell.append(el('span', { class: verdict.allowed ? 'good' : 'bad' }, verdict.allowed ? 'allowed' : 'refused'));
    if (verdict.leftOut.length) {
      const fields = `${listed(verdict.leftOut)}, which a ${type} Service can’t have`;
      cell.append(el('div', { class: 'muted' }, verdict.allowed ? `if you also remove ${fields}` : `even without ${fields}`));
    }
    const reasons = verdict.reasons.slice(0, MAX_REASONS).map((reason) => el('li', {}, printable(reason)));
    const more = verdict.reasons.length - reasons.length;
    if (more) reasons.push(el('li', {}, `and ${more} more`));
    if (reasons.length) cell.append(el('ul', { class: 'reasons' }, ...reasons));
    return cell;
  });
  return el(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Comparison of the types' },
    el(
      'table',
      {},
      el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Type'), ...TYPES.map((type) =>
        el('th', { scope: 'col', ...mark(type) }, type, type === current && ' (this one)')))),
      el(
        'tbody',
        {},
        el('tr', {}, el('th', { scope: 'row' }, 'Would it be allowed?'), ...allowed),
        ...rows.map(({ name, cells }) =>
          el('tr', {}, el('th', { scope: 'row' }, name), ...cells.map((cell, index) => el('td', mark(TYPES[index]), printable(cell)))),
        ),
      ),
    ),
  );
}

function listed(fields: string[]): string {
  const shown = fields.slice(0, MAX_FIELDS).map(printable).join(', ');
  return fields.length > MAX_FIELDS ? `${shown} and ${fields.length - MAX_FIELDS} more` : shown;
}

function rowsOf(service: Service, { environment, nodePorts: range }: Cluster): { name: string; cells: [string, string, string] }[] {
  const { metadata, spec } = service;
  // A Service that the API server refuses may have anything here.
  const ports = Array.isArray(spec?.ports) ? spec.ports.filter((port) => typeof port === 'object' && port !== null) : [];
  const name = metadata?.name ?? '(name)';
  const namespace = metadata?.namespace ?? 'default';
  const numbers = (pick: (port: (typeof ports)[number]) => number | undefined, otherwise: string) => {
    const all = ports.map((port) => `${pick(port) ?? otherwise}${port.protocol && port.protocol !== 'TCP' ? `/${port.protocol}` : ''}`);
    const shown = all.slice(0, 5).join(', ');
    return all.length > 5 ? `${shown} and ${all.length - 5} more` : shown || 'none';
  };
  const own = numbers((port) => port.port, '?');
  const nodePorts = numbers((port) => port.nodePort || undefined, `one of ${range.from}-${range.to}`);
  const dns = `${name}.${namespace}.svc`;
  const served = {
    cloud: 'the cloud provides a load balancer, and charges for it',
    onPrem: 'nothing, unless you installed a controller such as MetalLB: the address stays <pending>',
  };
  const serves = environment ? served[environment] : 'the Nodes decide: a cloud provides one, else the address stays <pending>';
  return [
    { name: 'Who reaches it', cells: [
      'Pods and nodes of the cluster only',
      'everyone who reaches a node; and the cluster',
      'everyone who reaches the load balancer, which may be the Internet; its node ports, too; and the cluster',
    ] },
    { name: 'Port', cells: [own, `${nodePorts} on every node; ${own} inside`, `${own} at the load balancer; ${nodePorts} on every node`] },
    { name: 'Address', cells: [
      `${dns}, a cluster IP`,
      `any node's IP; inside ${dns}`,
      `the load balancer's IP or host name; inside ${dns}`,
    ] },
    { name: 'Needs a cloud', cells: ['no', 'no', serves] },
    { name: 'Balancing', cells: [
      'kube-proxy, between the Pods',
      'none between the nodes: clients choose one; then kube-proxy',
      'between the nodes by the load balancer; then kube-proxy',
    ] },
    { name: 'When to use', cells: [
      'for whatever only other Pods call: databases, internal APIs',
      'without a cloud, behind a proxy of your own, or to try something out',
      'for what people outside call, with TLS and source ranges; for HTTP an Ingress or a Gateway shares one',
    ] },
  ];
}
