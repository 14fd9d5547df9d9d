"""The page of all hosts in a real browser: read by phone, keyboard and printer, without colour, script or network."""

import contextlib
from pathlib import Path

import pytest
from playwright.sync_api import expect

from example_fleet import NOW, answers, example, overview, waiting
from mailhost.page.fleet import fleet
from mailhost.page.html import PART, page

PHONE, DESKTOP, PAPER = (360, 740), (1280, 900), (794, 1123)
expect.set_options(timeout=300_000)  # a busy machine is no fault of the page


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """Files of pages: of a few domains, of more than a screen holds, and of many hosts."""
    folder = tmp_path_factory.mktemp("pages")
    hosts = tuple(f"mx{number}" for number in range(1, 13))
    fleets = {"few": example(), "many": example(400, 20), "wide": fleet(answers(30, hosts), {}, (), NOW)}
    for name, found in fleets.items():
        (folder / f"{name}.html").write_text(page(found), encoding="utf-8")
    return folder


@pytest.fixture
def visit(browser, pages):
    """Opens a page; at the end there was no error, and no request but for the page itself."""
    with contextlib.ExitStack() as stack:
        asked, said = [], []

        def open_page(name, size=DESKTOP, media=None, **options):
            options.setdefault("locale", "en-GB")
            context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
            stack.callback(context.close)
            shown = context.new_page()
            shown.on("request", lambda request: asked.append(request.url))
            shown.on("console", lambda message: said.append(message.text))
            shown.on("pageerror", lambda error: said.append(str(error)))
            if media:
                shown.emulate_media(**media)
            shown.goto((pages / f"{name}.html").as_uri())
            return shown

        yield open_page
        assert said == []
        assert {Path(url).name.partition("#")[0] for url in asked} <= {
            f"{name}.html" for name in ("few", "many", "wide")
        }


def domains(shown):
    return shown.locator(".domain:visible")


def narrow(shown, name):
    return shown.get_by_role("combobox", name=name, exact=True)


WAYS = {
    "phone": (PHONE, {}, {}),
    "tablet": ((800, 1000), {}, {}),
    "desktop": (DESKTOP, {}, {}),
    "dark": (DESKTOP, {"color_scheme": "dark"}, {}),
    "paper": (PAPER, {"media": "print"}, {}),
    "without colour": (DESKTOP, {"forced_colors": "active"}, {}),
    "without script": (PHONE, {}, {"java_script_enabled": False}),
    "large text": ((640, 450), {}, {}),
}


@pytest.mark.parametrize("name", ["few", "many", "wide"])
@pytest.mark.parametrize("way", WAYS)
def test_no_page_is_wider_than_what_it_is_read_on(visit, tmp_path, way, name):
    size, media, options = WAYS[way]
    shown = visit(name, size, media, **options)
    assert shown.evaluate("document.documentElement.scrollWidth") <= size[0]
    shown.screenshot(path=tmp_path / f"{name}-{way}.png", full_page=name == "few")  # to be looked at


@pytest.mark.parametrize("way", ["phone", "desktop", "paper", "without script"])
def test_each_way_shows_hosts_findings_remedies_and_domains(visit, way):
    size, media, options = WAYS[way]
    shown = visit("few", size, media, **options)
    expect(shown.get_by_role("heading", level=1)).to_have_text("Mail servers")
    expect(shown.locator(".hosts li")).to_have_count(4)
    for words in ("no answer within 120 s", "Leave one TXT record that begins with v=spf1", "school.example"):
        expect(shown.get_by_text(words).first).to_be_visible()
    expect(domains(shown)).to_have_count(6)


def test_without_a_script_there_is_all_to_read_and_no_dead_control(visit):
    shown = visit("many", java_script_enabled=False)
    expect(shown.locator(".domain")).to_have_count(400)
    expect(shown.locator(".bar")).to_be_hidden()


def test_a_domain_opens_and_leads_to_its_finding(visit):
    shown = visit("few")
    first = domains(shown).first
    expect(first).to_contain_text("school.example")
    first.locator("summary").click()
    expect(first.get_by_text("signs since").first).to_be_visible()
    first.get_by_role("link", name="dns.spf").click()
    expect(shown.locator(".finding:target")).to_contain_text("one SPF record")
    expect(shown.locator(".finding:target")).to_be_in_viewport()


def test_a_link_to_a_domain_that_is_folded_away_opens_it(visit):
    shown = visit("many")
    shown.evaluate("location.hash = 'd-d00399.example'")
    last = shown.locator("[id='d-d00399.example']")
    expect(last).to_have_attribute("open", "")
    expect(last).to_be_in_viewport()


def test_all_is_reached_by_the_keyboard_and_what_has_the_focus_is_marked(visit):
    shown = visit("few")
    visited = []
    for _ in range(40):
        shown.keyboard.press("Tab")
        here = shown.evaluate(
            "(() => { const one = document.activeElement, box = one.getBoundingClientRect();"
            " return [one.id || one.className || one.localName, getComputedStyle(one).outlineStyle, box.width > 0] })()"
        )
        if (visited and here[0] == visited[0][0]) or here[0] == "body":
            break
        visited.append(here)
    names = [name for name, _, _ in visited]
    assert names[:4] == ["skip", "search", "host", "show"]
    assert (names.count("row"), names.count("copy")) == (6, 1)
    assert len(names) == 4 + 5 + 6 + 1
    assert all(outline != "none" and is_there for _, outline, is_there in visited)


def test_the_keyboard_skips_to_the_domains_and_opens_one(visit):
    shown = visit("few")
    for key in ("Tab", "Enter", "Tab", "Enter"):
        shown.keyboard.press(key)
    expect(domains(shown).first).to_have_attribute("open", "")
    expect(domains(shown).first).to_be_in_viewport()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("d00123", "1 of 400 domains, 0 of 45 findings"),
        ("D00026.example", "1 of 400 domains, 2 of 45 findings"),
        ("dns.spf", "1 of 400 domains, 1 of 45 findings"),
        ("school spf", "1 of 400 domains, 1 of 45 findings"),
        ("nowhere", "0 of 400 domains, 0 of 45 findings"),
    ],
)
def test_words_find_domains_and_findings_also_those_that_are_folded(visit, words, found):
    shown = visit("many")
    shown.get_by_role("searchbox").fill(words)
    expect(shown.locator("#found")).to_have_text(found)
    expect(domains(shown)).to_have_count(int(found.split()[0]))
    shown.get_by_role("searchbox").fill("")
    expect(shown.locator("#found")).to_have_text("")
    expect(domains(shown).first).to_be_visible()


@pytest.mark.parametrize(
    ("narrowed", "host", "found"),
    [
        ("what needs attention", "all hosts", "23 of 400 domains, 45 of 45 findings"),
        ("what needs attention", "mx2", "21 of 400 domains, 22 of 45 findings"),
        ("what needs attention", "mx4", "0 of 400 domains, 1 of 45 findings"),
        ("what I have to do", "all hosts", "22 of 400 domains, 43 of 45 findings"),
        ("records to publish", "all hosts", "21 of 400 domains, 41 of 45 findings"),
        ("records to publish", "mx2", "20 of 400 domains, 20 of 45 findings"),
        ("everything", "mx3", "200 of 400 domains, 0 of 45 findings"),
    ],
)
def test_the_page_narrows_to_a_host_and_to_what_is_to_be_done(visit, narrowed, host, found):
    shown = visit("many")
    narrow(shown, "Show").select_option(narrowed)
    narrow(shown, "Host").select_option(host)
    expect(shown.locator("#found")).to_have_text(found)
    expect(shown.locator(".host:visible")).to_have_count(4 if host == "all hosts" else 1)
    if narrowed == "what needs attention":
        left = set(domains(shown).evaluate_all("all => all.map(one => one.dataset.status)"))
        assert left <= {"fail", "warn", "unknown"}
    narrow(shown, "Show").select_option("everything")
    narrow(shown, "Host").select_option("all hosts")
    expect(shown.locator("#found")).to_have_text("")
    expect(shown.locator(".host:visible")).to_have_count(4)
    expect(domains(shown).first).to_be_visible()


def test_a_copied_record_is_the_line_of_the_zone_and_the_page_says_so(visit):
    shown = visit("few", permissions=["clipboard-read", "clipboard-write"])
    button = shown.get_by_role("button", name="Copy the record 20261124-mx1._domainkey.bakery.example.")
    button.focus()
    shown.keyboard.press("Enter")
    expect(shown.get_by_role("status").filter(has_text="Copied.")).to_be_attached()
    expect(shown.locator(".copy b")).to_have_text("Copied")
    line = '20261124-mx1._domainkey.bakery.example. 3600 IN TXT "v=DKIM1; k=rsa; p='
    assert shown.evaluate("navigator.clipboard.readText()").startswith(line)


def test_a_record_that_cannot_be_copied_is_selected(visit):
    shown = visit("few")
    shown.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    shown.evaluate("document.execCommand = () => false")
    shown.locator(".copy").click()
    expect(shown.locator("#copied")).to_have_text("The browser did not allow it; the record is selected.")
    assert shown.evaluate("getSelection().toString()").endswith('PApAl7uHWd"'[-9:])


@pytest.mark.parametrize("way", ["without script", "paper"])
def test_where_nothing_can_be_copied_there_is_no_button_for_it(visit, way):
    size, media, options = WAYS[way]
    shown = visit("few", size, media, **options)
    expect(shown.locator(".record").first).to_be_visible()
    expect(shown.locator(".copy").first).to_be_hidden()


def test_a_record_has_letters_of_one_width_and_wraps(visit):
    shown = visit("few", PHONE)
    code = shown.locator(".record code").first
    assert "monospace" in code.evaluate("one => getComputedStyle(one).fontFamily")
    assert code.evaluate("one => one.scrollWidth <= one.clientWidth")
    assert code.bounding_box()["width"] < PHONE[0]


def test_keys_of_a_domain_stand_side_by_side(visit):
    shown = visit("few")
    domains(shown).filter(has_text="bakery.example").locator("summary").click()
    table = shown.get_by_role("table", name="Keys of bakery.example")
    expect(table.get_by_role("columnheader")).to_have_text(["stage", "mx1", "mx3"])
    expect(table.get_by_role("rowheader")).to_have_text(["generated", "signing", "removed"])
    one, other = (cell.bounding_box() for cell in table.get_by_role("row").nth(2).get_by_role("cell").all())
    assert one["y"] == other["y"]
    assert one["x"] + one["width"] <= other["x"]


def test_scrolling_to_the_end_shows_the_last_domain(visit):
    shown = visit("many")
    assert shown.locator(".domain").count() == PART
    shown.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(shown.get_by_text("d00399.example").first).to_be_visible()


def test_paper_gets_every_finding_and_every_key_and_no_control(visit, tmp_path):
    shown = visit("many", PAPER)
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    shown.emulate_media(media="print")
    assert shown.locator(".domain").count() == 400
    assert shown.locator("details:not([open])").count() == 0
    expect(shown.locator(".bar")).to_be_hidden()
    expect(shown.locator(".told").last).to_be_visible()
    shown.evaluate("dispatchEvent(new Event('afterprint'))")
    assert shown.locator(".domain[open]").count() == 0
    printed = visit("few", PAPER).pdf(path=tmp_path / "few.pdf")  # to be looked at
    assert printed.startswith(b"%PDF")


def test_on_paper_findings_are_unfolded_even_where_no_script_runs(visit):
    shown = visit("few", PAPER, {"media": "print"}, java_script_enabled=False)
    expect(shown.locator(".told").last).to_be_visible()


def test_on_narrow_paper_the_keys_of_many_hosts_stand_below_each_other_each_with_its_host(visit):
    shown = visit("wide", PAPER, {"media": "print"})
    table = shown.locator(".keys table").first
    caption, cells = table.locator("caption").bounding_box(), table.locator("td")
    assert caption["width"] > 200
    assert caption["height"] < 40
    assert cells.nth(1).bounding_box()["y"] > cells.nth(0).bounding_box()["y"]
    expect(cells.nth(0).locator(".of")).to_be_visible()


def test_a_status_is_told_apart_by_sign_and_shape_and_word(visit):
    shown = visit("few", media={"forced_colors": "active"})
    looks = {}
    for status in ("ok", "unknown", "warn", "fail"):
        mark = shown.locator(f".legend .mark.{status}")
        expect(mark).to_have_text(status)
        looks[status] = mark.evaluate(
            "one => { const sign = getComputedStyle(one, '::before');"
            " return [sign.content, sign.borderStyle, sign.backgroundColor].join(' ') }"
        )
    assert len(set(looks.values())) == 4


def test_every_mark_of_the_time_line_differs_from_the_others_without_its_colour(visit):
    shown = visit("few")
    looks = shown.locator(".legend .sample path").evaluate_all(
        "all => all.map(one => { const look = getComputedStyle(one);"
        " return [look.strokeWidth, look.strokeDasharray, look.strokeLinecap, one.getAttribute('d')].join(' ') })"
    )
    assert len(looks) == 8
    assert len(set(looks)) == 8


def test_what_a_host_says_is_never_run(browser, tmp_path):
    evil = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    names = [evil, *(f"{number}{evil}" for number in range(200))]
    found = fleet({evil: overview(evil, names, [waiting(name, "mx1") for name in names])}, {}, (evil,), NOW)
    (tmp_path / "evil.html").write_text(page(found))
    shown, asked = browser.new_page(), []
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto((tmp_path / "evil.html").as_uri())
    shown.get_by_role("searchbox").fill("199<img")
    expect(shown.locator("#found")).to_have_text("1 of 201 domains, 1 of 201 findings")
    assert "run" not in shown.title()
    assert shown.locator("img").count() == 0
    assert [Path(url).name for url in asked] == ["evil.html"]
    shown.close()


def test_the_policy_stops_what_would_be_asked_for_or_run(browser, pages, tmp_path):
    """That nothing is asked for does not rest on the page alone: the browser would refuse."""
    text = (pages / "few.html").read_text()
    added = "<script>document.title='run'</script><img src='https://example.invalid/x.png'>"
    (tmp_path / "changed.html").write_text(text.replace("</body>", f"{added}</body>"))
    shown, said = browser.new_page(), []
    shown.on("console", lambda message: said.append(message.text))
    shown.goto((tmp_path / "changed.html").as_uri())
    assert "run" not in shown.title()
    assert sum("Content Security Policy" in text for text in said) == 2
    shown.close()
