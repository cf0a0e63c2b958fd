from __future__ import annotations

import pytest

from schemas.event import EventIn, accept
from schemas.robot import declares_robot, is_robot_agent


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (compatible; bingbot/2.0)",
        "Baiduspider/2.0",
        "facebookexternalhit crawler",
        "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/120.0",
        "Scrapy/2.11 (+https://scrapy.org)",
    ],
)
def test_robots_are_known_by_their_names(agent: str) -> None:
    assert is_robot_agent(agent)


@pytest.mark.parametrize(
    "agent",
    [
        "",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36",
        "Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus) Mobile Safari/537.36",
        "Mozilla/5.0 (Linux; Android 12; CUBOT) Mobile",
        "python-httpx/0.28",
        "curl/8.5",
        "robotics-shop/1.0",
    ],
)
def test_people_and_the_servers_that_speak_for_them_are_not(agent: str) -> None:
    assert not is_robot_agent(agent)


def test_an_event_is_a_robots_by_its_context_or_its_request() -> None:
    def robot(user_agent: str = "", **context: str | bool) -> bool:
        given = EventIn(event_type="view", user_id="1", item_id="a", context=context)
        return accept(given, event_id="e", received_at=9.0, user_agent=user_agent).robot

    assert robot(robot=True)
    assert robot(user_agent="bingbot/2.0")
    assert not robot(user_agent="Mozilla/5.0", device="phone")
    assert not declares_robot({"robot": 1, "user_agent": 7})
