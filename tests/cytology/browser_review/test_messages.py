"""What the page may send, and in which order it shows a patient's cells."""

import pytest

from tfod_csf.cytology.browser_review import messages
from tfod_csf.cytology.browser_review.marked_images import RefusedDecisionError


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], "not an object"),
        ({"request": "r", "patient": "p", "action": "sign"}, "no action 'sign'"),
        ({"request": "r", "patient": "p", "action": "name", "image": "a", "cell": "1", "name": ""}, "whole number"),
        ({"request": "r", "patient": "p", "action": "name", "image": "a", "cell": True, "name": ""}, "whole number"),
        ({"request": "r", "patient": "p", "action": "name", "image": "a", "cell": 1, "name": None}, "usable 'name'"),
        ({"request": "r", "patient": "p", "action": "draw", "image": "a", "name": "x", "box": [1, 2, 3]}, "four sides"),
        ({"request": "r", "patient": "p", "action": "draw", "image": "a", "name": "", "box": [1, 2, 3.5, 4]}, "whole"),
        ({"request": "r", "patient": "p", "action": "move", "image": "a", "cell": 1, "box": None}, "four sides"),
        ({"request": "r", "patient": "p", "action": "move", "image": "a", "box": [1, 2, 3, 4]}, "whole number"),
        ({"request": "r", "patient": "p", "action": "verify", "image": "x" * 1001}, "usable 'image'"),
        ({"request": "", "patient": "p", "action": "undo"}, "usable 'request'"),
        ({"request": "r", "patient": "p", "action": "undo", "seen": 1 << 60}, "whole number"),
    ],
)
def test_messages_of_another_form_are_refused(content, says):
    with pytest.raises(RefusedDecisionError, match=says):
        messages.read_message(content)


def test_the_gallery_begins_with_what_has_to_be_decided():
    names = ["lymphocyte", "monocyte", "erythrocyte", "unknown", "eosinophil"]
    assert messages.group_names(names) == [
        *("unknown", "eosinophil", "lymphocyte", "monocyte", "unknown, most likely erythrocyte", "erythrocyte", "")
    ]
