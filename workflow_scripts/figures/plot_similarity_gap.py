"""Figure 5 of the paper: sequence-level similarity against the gap, with training time as the baseline (ours)."""

from workflow_scripts.figures.scatter import plot_predictors

PREDICTORS = {
    "sim_cosine": "Sim, cosine",
    "sim_euclidean": "Sim, Euclid",
    "sim_cosine_calibrated": "Sim, cosine, calibrated",
}

if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: plot_predictors(
            s.input.points, s.input.regression, PREDICTORS, s.output.pdf, s.output.svg, s.output.png, s.params.display
        ),
    )
