// The page's editors, in the order of their tabs.

import type { Input } from './messages';

/** The names of the tabs. */
export const TITLES: Record<Input, string> = {
  objects: 'Manifest',
  old: 'Before the update',
  policies: 'Policies',
  config: 'Cluster (HostConfig)',
};

/** The editors. */
export const INPUTS: Input[] = ['objects', 'old', 'policies', 'config'];
