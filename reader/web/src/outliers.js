/**
 * What is far from the rest, by the rules of reader/outliers.py, which says why they are so; a test holds the two
 * equal. They are here too because the report and the dashboard look at nodes and tasks in the browser.
 */

/** A straggler took longer than this many times the job's 95th percentile. */
export const STRAGGLER = 2;

const CHANCE = 0.01;

/**
 * The nodes that fail more than the rest.
 * @template {{tasks: number, failed: number}} Node
 * @param {Node[]} nodes
 * @returns {Set<Node>}
 */
export function failingNodes(nodes) {
  const tasks = nodes.reduce((sum, node) => sum + node.tasks, 0);
  const failed = nodes.reduce((sum, node) => sum + node.failed, 0);
  return new Set(
    nodes.filter((node) => {
      const others = (failed - node.failed + 1) / (tasks - node.tasks + 2);
      return nodes.length > 1 && node.failed > node.tasks * others && atLeast(node.failed, node.tasks, others) < CHANCE / nodes.length;
    }),
  );
}

/** The chance of so many successes or more: binomial. @param {number} successes above 0 @param {number} trials @param {number} rate above 0, below 1 */
function atLeast(successes, trials, rate) {
  let logarithm = successes * Math.log(rate) + (trials - successes) * Math.log1p(-rate);
  for (let k = 1; k <= successes; k++) logarithm += Math.log(trials - successes + k) - Math.log(k);
  let term = Math.exp(logarithm);
  let total = 0;
  for (let k = successes; k <= trials && (term > total * 1e-16 || k <= trials * rate); k++) {
    total += term;
    term *= (((trials - k) / (k + 1)) * rate) / (1 - rate);
  }
  return Math.min(total, 1);
}
