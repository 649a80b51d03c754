import numpy as np

from fpverify.verdict import retained


def test_retention_is_the_share_of_labels_that_agree():
    found = retained(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0]))
    assert (found.kept, found.queries, found.rate) == (3, 4, 0.75)
