"""A fresh copy of the workflow per test."""

import pytest

from tests.workflow.workflow_copy import Workflow


@pytest.fixture
def workflow(tmp_path) -> Workflow:
    return Workflow(tmp_path)
