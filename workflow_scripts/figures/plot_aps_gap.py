"""Figure 7 of the paper: Alignment Path Score against the gap, with training time as the baseline (ours)."""

from workflow_scripts.figures.scatter import plot_predictors

PREDICTORS = {
    "aps_cosine": "APS, cosine",
    "aps_euclidean": "APS, Euclid",
    "aps_cosine_calibrated": "APS, cosine, calibrated",
}

if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: plot_predictors(
            s.input.points, s.input.regression, PREDICTORS, s.output.pdf, s.output.svg, s.output.png, s.params.display
        ),
    )
