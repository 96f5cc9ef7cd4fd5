"""Where a Lua block ends, and what of it is code."""

import pytest
from resty_metrics.nginx_config.lua_block import read_block, without_comments

BLOCKS = [
    ("plain", "return 1"),
    ("nested braces", "local t = { { 1 }, {} }"),
    ("brace in double quotes", 'local s = "}"'),
    ("brace in single quotes", "local s = '}'"),
    ("escaped quote", r'local s = "\"}" .. "\\"'),
    ("quote of the other kind", """local s = "don't }" """),
    ("line comment", "x() -- don't }\ny()"),
    ("comment of minus signs", "x() ---- }\n"),
    ("long comment", "--[[ } don't\n } ]] x()"),
    ("long comment with a level", "--[==[ ]] } ]=] ]==] x()"),
    ("line comment that looks like a long one", "--[ [ }\nx()"),
    ("long string", "local s = [[ } ' \" ]]"),
    ("long string with a level", "local s = [=[ ]] } ]=]"),
    ("backslash before a long string's end", "local s = [[ \\]] }"[:-2]),
    ("index of an index", "local v = t[u[1]] .. t['}']"),
    ("minus", "local v = a - -b - { }[1]"),
    ("empty", ""),
]


@pytest.mark.parametrize(("name", "code"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_the_end_of_a_block(name: str, code: str) -> None:
    rest = iter(code + "} after")
    assert read_block(rest) == code
    assert "".join(rest) == " after"


def test_a_block_without_an_end() -> None:
    with pytest.raises(ValueError, match="no end"):
        read_block("return { }")


COMMENTS = [
    ("a() -- b()\nc()", "a()  \nc()"),
    ("a() --[[ b()\n ]] c()", "a()   c()"),
    ("a() --[=[ ]] ]=] c()", "a()   c()"),
    ("s = '-- no' .. \"--[[ no\"", "s = '-- no' .. \"--[[ no\""),
    ("s = [[ -- no ]]", "s = [[ -- no ]]"),
    (r's = "\"-- no"', r's = "\"-- no"'),
    ("a() -- the last line", "a()  "),
    ("a - -b", "a - -b"),
]


@pytest.mark.parametrize(("code", "expected"), COMMENTS)
def test_what_is_no_comment(code: str, expected: str) -> None:
    assert without_comments(code) == expected
