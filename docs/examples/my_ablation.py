"""An ablation with significance from Python: what `mmgenre run` does with a recipe's `[table]`.

    python docs/examples/my_ablation.py

runs my_ablation.toml, beside this file, on 96 albums, writes its page, and prints which rows of the
table can be told apart.
"""

from pathlib import Path

from mmgenre.datasets.synthetic import built_in_catalogue
from mmgenre.pipeline.cells import write_table
from mmgenre.pipeline.grid import prepare_experiment, run_experiment
from mmgenre.report.experiment import write_experiment


def main() -> None:
    recipe = str(Path(__file__).with_suffix(".toml"))
    dataset = str(built_in_catalogue(n_albums=96))
    table = run_experiment(prepare_experiment(recipe, dataset=dataset, runs="runs"))
    _, page = write_experiment(write_table(table, Path("runs")))

    for row in table["rows"]:
        low, high = row["intervals"]["macro_f1"]
        mean = row["summary"]["macro_f1"]["mean"]
        print(f"{row['name']}: macro F1 {mean:.3f} [{low:.3f}, {high:.3f}]")
    for found in table["differences"]:
        if found["metric"] == "macro_f1":  # p_holm: corrected for all pairs of the table
            rows = f"{found['a']} less {found['b']}"
            interval = f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
            print(f"{rows}: {interval}, p {found['p_holm']:.3f}, {found['verdict']}")
    print(page)


if __name__ == "__main__":
    main()
