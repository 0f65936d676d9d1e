"""Which speech frames of a question are edited, and the text token each takes its partner from.

The path is the vote of the layers 1..L under the cosine metric; entries are ranked by their cosine averaged over these
layers. The paper leaves both open: `measures.edit_targets` states the reading.
"""

import numpy as np

from workflow_scripts.measures import EditTargets, all_entries, bottom_k, vote_path
from workflow_scripts.settings.analysis import InterventionOperation


def select_targets(operation: InterventionOperation, i_star: np.ndarray, path_score: np.ndarray) -> EditTargets:
    """Targets of one question from its cosine paths and scores (L+1, T_t).

    `all`: every distinct frame of the path. `bottom`: the k distinct frames with the lowest score.
    Raises ValueError if `bottom` comes without k.
    """
    path = vote_path(i_star, path_score)
    if operation.selection == "all":
        return all_entries(path.frames, path.scores)
    if operation.k is None:
        raise ValueError("selection 'bottom' needs k, the number of frames to edit; set it in intervention.operations")
    return bottom_k(path.frames, path.scores, operation.k)
