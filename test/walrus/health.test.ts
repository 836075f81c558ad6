/** What is remembered of nodes, by a clock that the test turns. */
import { expect, test } from 'vitest';
import type { Clock } from '../../src/base/clock.ts';
import { seededRandom } from '../../src/base/random.ts';
import type { StorageNode } from '../../src/walrus/network.ts';
import { Health } from '../../src/walrus/nodes/health.ts';
import { byTrust } from '../../src/walrus/nodes/slivers.ts';

const nodes = [0, 1, 2, 3].map(i => ({ nodeId: `0x${i}`, name: `node-${i}` }) as StorageNode);
const [liar, slow] = nodes as [StorageNode, StorageNode];

const watched = () => {
  let nowMs = 1;
  const health = new Health({ monotonicMs: () => nowMs } as Clock);
  return { health, pass: (ms: number) => void (nowMs += ms) };
};

test('a liar is asked last for a while, and then again like the others', () => {
  const { health, pass } = watched();
  const order = () => byTrust(nodes, health, seededRandom(1));
  health.lied(liar, 'wrong bytes');
  expect(order().at(-1)).toBe(liar);
  pass(9 * 60_000);
  expect(health.isLiar(liar)).toBe(true);
  pass(2 * 60_000);
  expect(health.isLiar(liar)).toBe(false);
  health.lied(liar, 'wrong bytes again');
  expect(health.isLiar(liar)).toBe(true);
});

test('a node is late twice before others are asked in its place, and tried again soon', () => {
  const { health, pass } = watched();
  health.late(slow, 'late');
  health.answered(slow, 10);
  health.late(slow, 'late');
  expect(health.isShunned(slow)).toBe(false);
  health.late(slow, 'late');
  expect(health.isShunned(slow)).toBe(true);
  pass(16_000);
  expect(health.isShunned(slow)).toBe(false);
});

test('the time after which others are asked too follows the slowest twentieth of recent answers', () => {
  const { health } = watched();
  const first = health.hedgeMs();
  for (let i = 0; i < 256; i++) health.answered(nodes[i % 4]!, 100);
  expect(health.hedgeMs()).toBe(100);
  expect(first).toBeGreaterThan(health.hedgeMs());
  for (let i = 0; i < 20; i++) health.answered(nodes[0]!, 900);
  expect(health.hedgeMs()).toBe(900);
  for (let i = 0; i < 256; i++) health.answered(nodes[0]!, 1);
  expect(health.hedgeMs()).toBe(20);
});
