"""The mutants: the file, the text that is replaced, what replaces it, what that breaks, and the tests that notice."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One change to one line.

    Attributes:
        name: for the command line.
        file: from the root of the repository.
        old: text that is exactly once in the file.
        new: what replaces it.
        breaks: what is wrong then, in words.
        tests: files or folders below ``tests`` of which one test has to fail in a short run.
        only: choose among them as ``pytest -k`` does.
    """

    name: str
    file: str
    old: str
    new: str
    breaks: str
    tests: tuple[str, ...]
    only: str = ""


ALLOCATION = ("engine/allocation",)
FACTORS = ("engine/factorization",)
STORE = ("cache",)
JOBS = ("engine/jobs",)
LAW = ("engine/prediction",)
BOARD = ("browser/test_board_truth.py",)

MUTANTS = (
    # What a rank costs
    Mutant(
        "skip-costs-low-rank",
        "engine/formats.py",
        "saved = rank * rank if storage.skips else 0\n    return",
        "saved = 0\n    return",
        "skip formats save nothing",
        ("engine/test_formats.py",),
    ),
    Mutant(
        "index-bytes-free",
        "engine/formats.py",
        "return in_features * INDEX_BYTES if block.format.skips else 0",
        "return 0",
        "the column order of a skip format costs no bytes",
        ("engine/test_formats.py", "engine/methods"),
    ),
    Mutant(
        "useful-rank-plus-one",
        "engine/formats.py",
        "return (dense - 1) // (in_features + out_features)",
        "return dense // (in_features + out_features)",
        "a rank that costs as much as dense counts as useful",
        ("engine/test_formats.py", "engine/allocation"),
    ),
    Mutant(
        "root-off-by-one",
        "engine/formats.py",
        "(total - math.isqrt(discriminant - 1) - 1) // 2",
        "(total - math.isqrt(discriminant - 1) + 1) // 2",
        "the largest rank of a skip format costs more than was given",
        ("engine/test_formats.py",),
    ),
    # Allocation
    Mutant(
        "uniform-rounds-up",
        "engine/allocation/_uniform.py",
        "remaining * blocks[i].curve.dense_params // dense)",
        "-(-remaining * blocks[i].curve.dense_params // dense) + 1)",
        "uniform shares exceed the budget",
        ALLOCATION,
    ),
    Mutant(
        "frontier-over-budget",
        "engine/allocation/_frontier.py",
        "            if extra <= params:\n",
        "            if extra <= params + 1:\n",
        "water-filling may exceed the budget by one parameter",
        ALLOCATION,
    ),
    Mutant(
        "hull-drops-convex",
        "engine/allocation/_hull.py",
        "reflex = np.flatnonzero(steep[1:] < steep[:-1]) + 1",
        "reflex = np.flatnonzero(steep[1:] > steep[:-1]) + 1",
        "the hull is the upper one",
        ALLOCATION,
    ),
    Mutant(
        "locks-ignored",
        "engine/allocation/_blocks.py",
        "own = (None,) * len(names) if is_whole else tuple(lock_of.get(name) for name in names)",
        "own = (None,) * len(names)",
        "ranks held for single projections are ignored",
        ALLOCATION,
    ),
    Mutant(
        "min-rank-rounds-down",
        "engine/allocation/_blocks.py",
        "first = -(-min_rank // rank_step) * rank_step",
        "first = max(min_rank // rank_step, 1) * rank_step",
        "the lowest rank may be below the least one asked for",
        ALLOCATION,
    ),
    Mutant(
        "flrc-ignores-gamma",
        "engine/allocation/_flrc.py",
        "(importances / largest) ** gamma",
        "(importances / largest)",
        "FLRC's exponent has no effect",
        ALLOCATION,
    ),
    Mutant(
        "flrc-remainder-unspent",
        "engine/allocation/_flrc.py",
        "np.argsort(-np.array(fractions)",
        "np.argsort(np.array(fractions)",
        "the remainder goes to the smallest fractions first",
        ALLOCATION,
    ),
    Mutant(
        "flrc-over-budget",
        "engine/allocation/_flrc.py",
        "            if extra <= left:\n",
        "            if extra <= left + 1:\n",
        "FLRC may exceed the budget by one parameter",
        ALLOCATION,
    ),
    Mutant(
        "floor-not-required",
        "engine/allocation/_base.py",
        "if floor_params <= budget.params:",
        "if floor_params <= budget.params + 1:",
        "a budget one below the least is taken",
        ALLOCATION,
    ),
    Mutant(
        "nats-of-shared-lost",
        "engine/allocation/_hull.py",
        "return [(self.shared.block, self.shared.rank(together))]",
        "return [(hull.block, hull.rank(0)) for hull in self.separate]",
        "a group stored together is decided apart",
        ALLOCATION,
    ),
    Mutant(
        "searched-map-over-budget",
        "engine/allocation/_evaluated.py",
        "if m.params <= budget.params]",
        "if m.params < budget.params]",
        "a searched map of exactly the budget is left out",
        ("engine/allocation", "browser/test_board_truth.py", "engine/search/test_search.py", "engine/methods"),
    ),
    Mutant(
        "format-of-group",
        "engine/allocation/_membership.py",
        "elif block.members != group:",
        "elif set(block.members) != set(group):",
        "the members of a shared block may come in any order",
        ("engine/allocation", "engine/rank_map"),
    ),
    # Factors
    Mutant(
        "no-damping",
        "engine/factorization/decomposition.py",
        "matrix + relative * scale * identity",
        "matrix",
        "second moments are not damped",
        ("engine/factorization", "engine/compression"),
    ),
    Mutant(
        "dual-not-transposed",
        "engine/factorization/decomposition.py",
        "dual = torch.linalg.solve_triangular(factor.T, vectors, upper=True).T",
        "dual = (torch.linalg.solve_triangular(factor.T, vectors, upper=True) @ vectors.T).T[: vectors.shape[1]]",
        "the dual of the input side is turned",
        FACTORS,
    ),
    Mutant(
        "moment-not-symmetric-scaled",
        "engine/factorization/decomposition.py",
        "matrix = (matrix + matrix.T) / 2",
        "matrix = matrix + matrix.T",
        "moments are doubled",
        FACTORS,
    ),
    Mutant(
        "tail-off-by-one",
        "engine/factorization/blocks.py",
        "return torch.cat([sums, sums.new_zeros(1)])",
        "return torch.cat([sums[:1], sums])",
        "a rank's predicted loss is that of the rank below",
        FACTORS,
    ),
    Mutant(
        "loss-not-halved",
        "engine/factorization/blocks.py",
        "return _tail_sums(decomposed.energies) / 2",
        "return _tail_sums(decomposed.energies)",
        "predicted nats are twice the second-order term",
        ("engine/factorization", "end_to_end/test_chain.py"),
    ),
    Mutant(
        "centre-not-removed",
        "engine/factorization/blocks.py",
        "return moment - means.T @ means / len(means)",
        "return moment",
        "the feature metric is not centred",
        FACTORS,
    ),
    Mutant(
        "shrinkage-ignored",
        "engine/factorization/blocks.py",
        "return torch.lerp(gradient, even * scale, shrinkage)",
        "return gradient",
        "shrinkage has no effect",
        ("engine/factorization", "end_to_end/test_chain.py"),
    ),
    Mutant(
        "cat-order-reversed",
        "engine/factorization/blocks.py",
        "stacked = torch.cat(list(doubles.values()))",
        "stacked = torch.cat(list(doubles.values())[:1] * len(doubles))",
        "a shared block holds the first member's weight for all",
        FACTORS,
    ),
    Mutant(
        "swap-scale",
        "engine/factorization/skip.py",
        "mixed[j] = -row / pivot",
        "mixed[j] = row / pivot",
        "a swap of columns changes the product",
        FACTORS,
    ),
    # Calibration
    Mutant(
        "moment-not-averaged",
        "engine/calibration/statistics.py",
        "{name: total / n for name, total in sums.items()}",
        "dict(sums)",
        "moments are sums",
        ("engine/calibration",),
    ),
    Mutant(
        "labels-not-shifted",
        "engine/calibration/passes.py",
        "batch[:, 1:].flatten()",
        "batch[:, :-1].flatten()",
        "the calibration loss predicts the token that was read",
        ("engine/calibration",),
    ),
    # Evaluation
    Mutant(
        "mean-of-exponentials",
        "engine/evaluation/perplexity.py",
        "return math.exp(self.nll.double().mean().item())",
        "return self.nll.double().exp().mean().item()",
        "dense perplexity is a mean of perplexities",
        ("engine/evaluation/test_perplexity.py",),
    ),
    Mutant(
        "kl-reversed",
        "engine/evaluation/perplexity.py",
        "shown = (dense.exp() * (dense - model)).sum(-1)",
        "shown = (model.exp() * (model - dense)).sum(-1)",
        "the divergence is taken the other way round",
        ("engine/evaluation", "end_to_end/test_chain.py"),
    ),
    Mutant(
        "one-sided-interval",
        "engine/evaluation/bootstrap.py",
        "[(1 - level) / 2, (1 + level) / 2]",
        "[1 - level, level]",
        "intervals have the wrong quantiles",
        ("engine/evaluation/test_summaries.py", "engine/evaluation/test_tasks.py", "engine/results"),
    ),
    Mutant(
        "flops-not-halved",
        "engine/evaluation/cost.py",
        "decode.get_total_flops() / 2, cached",
        "decode.get_total_flops(), cached",
        "multiply-adds are counted twice",
        ("engine/evaluation/test_counts.py", "engine/evaluation/test_cost.py"),
    ),
    Mutant(
        "cache-of-keys-only",
        "engine/evaluation/cost.py",
        'for name in ("keys", "values")]',
        'for name in ("keys",)]',
        "the cache is half as large as it is",
        ("engine/evaluation/test_counts.py", "engine/evaluation/test_cost.py"),
    ),
    # Prediction
    Mutant(
        "interval-factor",
        "engine/prediction/power_law.py",
        "width = TWO_SIDED_90 * math.sqrt(",
        "width = 1.0 * math.sqrt(",
        "prediction intervals are one deviation wide",
        (*LAW, *BOARD),
    ),
    Mutant(
        "own-run-in-its-prediction",
        "engine/prediction/power_law.py",
        "        others[index] = False\n",
        "",
        "a run takes part in its own prediction",
        LAW,
    ),
    Mutant(
        "variance-term-dropped",
        "engine/prediction/power_law.py",
        "v1 = 2 * float(",
        "v1 = float(",
        "the interval forgets half of a covariance",
        LAW,
    ),
    Mutant(
        "leverage-ignored",
        "engine/prediction/power_law.py",
        "* weights / (1 - leverages)",
        "* weights",
        "the widening is not that of runs left out",
        LAW,
    ),
    # Rank maps
    Mutant(
        "map-over-budget",
        "engine/rank_map/document.py",
        "rank_map.budget_params is not None and params > rank_map.budget_params",
        "rank_map.budget_params is not None and params > rank_map.budget_params + 1",
        "a map one parameter over its budget is taken",
        ("engine/rank_map",),
    ),
    Mutant(
        "identity-without-ranks",
        "engine/rank_map/identity.py",
        "b.format, b.rank or 0]",
        "b.format]",
        "maps of different ranks have one identity",
        ("engine/rank_map", "engine/results", "end_to_end/test_measuring.py"),
    ),
    Mutant(
        "untouched-free",
        "engine/formats.py",
        "return untouched + sum(",
        "return sum(",
        "projections in no block cost nothing",
        ("engine/rank_map",),
    ),
    # Store
    Mutant(
        "manifest-before-members",
        "cache/directory.py",
        """        for name in manifest.members:
            sync(partial / name)
        (partial / MANIFEST_NAME).write_bytes(encode_manifest(manifest))
        sync(partial / MANIFEST_NAME)
""",
        """        (partial / MANIFEST_NAME).write_bytes(encode_manifest(manifest))
        sync(partial / MANIFEST_NAME)
        for name in manifest.members:
            sync(partial / name)
""",
        "the manifest is on disk before what it lists",
        STORE,
    ),
    Mutant(
        "hash-not-checked",
        "cache/artifact.py",
        "if sha256 != expected.sha256:",
        "if False:",
        "changed content is read as it was written",
        STORE,
    ),
    Mutant(
        "manifest-hash-not-checked",
        "cache/manifest.py",
        "intact = claimed == actual and encoded ==",
        "intact = encoded ==",
        "a changed manifest is taken",
        STORE,
    ),
    Mutant(
        "fingerprint-without-upstream",
        "cache/fingerprint.py",
        '"upstream": list(upstream)}',
        '"upstream": []}',
        "what a value was made from is not in its key",
        STORE,
    ),
    Mutant(
        "arrays-as-they-lie",
        "cache/codecs.py",
        'np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")',
        "np.asarray(array)",
        "transposed arrays are written in the wrong order",
        STORE,
    ),
    Mutant(
        "living-writer-pruned",
        "cache/partials.py",
        "if name is not None and not is_alive(",
        "if name is not None or not is_alive(",
        "folders of writers that live are removed",
        STORE,
    ),
    # Jobs
    Mutant(
        "job-id-without-arguments",
        "engine/jobs/queue.py",
        "json.dumps([operation, arguments], sort_keys",
        "json.dumps([operation, sorted(arguments)], sort_keys",
        "jobs with other arguments are one job",
        JOBS,
    ),
    Mutant(
        "cancel-leader-only",
        "engine/jobs/local.py",
        "members.update({found, *found.children(recursive=True)})",
        "members.update({found})",
        "descendants that left the group outlive a cancelled job",
        JOBS,
    ),
    Mutant(
        "group-not-killed",
        "engine/jobs/local.py",
        "if os.getpgid(process.pid) == leader.pid:",
        "if process.pid == leader.pid:",
        "what a dead job's group left lives on",
        JOBS,
    ),
    Mutant(
        "cancel-later-than-asked",
        "engine/jobs/record.py",
        "ELSE MIN(?, COALESCE(kill_at, ?)) END",
        "ELSE MAX(?, COALESCE(kill_at, ?)) END",
        "a second cancel with no grace does not kill at once",
        JOBS,
    ),
    Mutant(
        "old-attempt-writes",
        "engine/jobs/record.py",
        "\"AND attempts = ? AND (status = 'running'",
        "\"AND attempts <= ? + 9 AND (status = 'running'",
        "an attempt that was given up writes the end of the next one",
        JOBS,
    ),
    # Search
    Mutant(
        "search-window-open",
        "engine/search/goals.py",
        '"too large": kept_fraction - self.high',
        '"too large": kept_fraction - self.high - 0.02',
        "points above the target are measured",
        ("engine/search/test_space.py", "engine/search/test_search.py"),
    ),
    Mutant(
        "quarters-off-by-one",
        "engine/search/space.py",
        "1 + 4 * layers.index(group.layer) // len(layers)",
        "1 + 4 * (layers.index(group.layer) + 1) // len(layers)",
        "layers are in the wrong quarter",
        ("engine/search/test_space.py",),
    ),
    Mutant(
        "rank-step-ignored",
        "engine/search/space.py",
        "/ per_rank / step + 1e-9) * step, step)",
        "/ per_rank + 1e-9), step)",
        "searched ranks are no multiples of the step",
        ("engine/search/test_space.py",),
    ),
    # Analysis, compression, refinement, results
    Mutant(
        "effective-rank-of-energies",
        "engine/analysis/curves.py",
        "sigma = np.sqrt(energies[energies > 0])",
        "sigma = energies[energies > 0]",
        "the effective rank is that of the energies",
        ("engine/analysis",),
    ),
    Mutant(
        "stale-inner",
        "engine/compression/layers.py",
        "known.x() is x and known.state == state",
        "known.x() is x",
        "a shared inner factor is reused after its input changed",
        ("engine/compression",),
    ),
    Mutant(
        "bias-dropped",
        "engine/compression/layers.py",
        "functional.linear(self.inner(x), self.left, self.bias)",
        "functional.linear(self.inner(x), self.left)",
        "biases are lost",
        ("engine/compression",),
    ),
    Mutant(
        "correction-undamped",
        "engine/refinement/closed_form.py",
        "ridge = damping * inner",
        "ridge = 1e3 * damping * inner",
        "the closed form is damped a thousand times more",
        ("engine/refinement",),
    ),
    Mutant(
        "correction-sign",
        "engine/refinement/closed_form.py",
        "fit.module.left.add_(total.correction(damping))",
        "fit.module.left.sub_(total.correction(damping))",
        "the correction goes the wrong way",
        ("engine/refinement",),
    ),
    Mutant(
        "front-keeps-dominated",
        "engine/results/pareto.py",
        "if least < least_before:",
        "if least <= least_before:",
        "a costlier map of equal harm is on the front",
        ("engine/results",),
    ),
    # The board in the browser
    Mutant(
        "board-flrc-order",
        "app/components/rank_board/port/flrc.js",
        "fractions[b] - fractions[a]",
        "fractions[a] - fractions[b]",
        "the board spends FLRC's remainder in another order",
        BOARD,
    ),
    Mutant(
        "board-interval",
        "app/components/rank_board/port/prediction.js",
        "law.v1 * u + law.v2",
        "law.v2 * u + law.v1",
        "the board's intervals differ from Python's",
        BOARD,
    ),
    Mutant(
        "board-uniform-floor",
        "app/components/rank_board/port/uniform.js",
        "for (const i of short) remaining -= floors[i];",
        "",
        "the board's uniform shares forget what the floors cost",
        BOARD,
    ),
)
