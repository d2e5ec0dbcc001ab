# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One messy customer
#
# Who is behind all these identifiers, what holds them together, and what happens when a steward joins two people by
# mistake and takes it back? Profiles are derived from evidence, so taking back leaves nothing behind.

# %%
import altair as alt
import networkx as nx
import pandas as pd
from workbench import ask, say

alt.renderers.enable("png", scale_factor=1.5)

# %% [markdown]
# The customer with the most identifiers.

# %%
messy = ask("""
    SELECT profile_id, count() AS identifiers FROM kintsugi.profile_identifiers
    WHERE workspace = {workspace:String} AND state = 'member'
    GROUP BY profile_id ORDER BY identifiers DESC, profile_id LIMIT 1
""").profile_id[0]
held = ask(
    """
    SELECT identifier_id, namespace, mask, first_day, last_day FROM kintsugi.profile_identifiers
    WHERE workspace = {workspace:String} AND profile_id = {p:String} ORDER BY first_day, namespace, mask
    """,
    p=messy,
)
held

# %% [markdown]
# ## What holds them together
#
# Every line is a pair that an event showed together. Identifiers at the end of a single line hang by it.

# %%
links = ask(
    """
    SELECT a, b, count() AS days, min(day) AS first_day
    FROM kintsugi.links_as_known(tenant = {workspace:String}, known_before = now64(6, 'UTC'))
    WHERE a IN {ids:Array(String)} AND b IN {ids:Array(String)}
    GROUP BY a, b
    """,
    ids=held.identifier_id.tolist(),
)
graph = nx.Graph()
graph.add_nodes_from(held.identifier_id)
graph.add_edges_from(links[["a", "b"]].itertuples(index=False))
places = nx.spring_layout(graph, seed=1, k=1.2, iterations=200)
nodes = held.assign(
    x=[places[i][0] for i in held.identifier_id],
    y=[places[i][1] for i in held.identifier_id],
    label=held.namespace + " " + held["mask"],
)
edges = pd.DataFrame(
    [
        {"link": n, "x": places[end][0], "y": places[end][1], "days": link.days}
        for n, link in enumerate(links.itertuples())
        for end in (link.a, link.b)
    ]
)
room = alt.Scale(padding=70, zero=False, nice=False)
plain = {"x": alt.X("x", axis=None, scale=room), "y": alt.Y("y", axis=None, scale=room)}
lines = (
    alt.Chart(edges)
    .mark_line(color="#999")
    .encode(**plain, detail="link", strokeWidth=alt.Size("days", legend=None))
)
points = alt.Chart(nodes).mark_circle(size=260).encode(**plain, color=alt.Color("namespace", title=None))
labels = alt.Chart(nodes).mark_text(dy=-16, fontSize=10).encode(**plain, text="label")
(lines + points + labels).properties(width=640, height=420, title="One person, seen from many sides")

# %%
bridges = pd.DataFrame(nx.bridges(graph), columns=["a", "b"])
f"{len(held)} identifiers, {len(links)} links, {len(bridges)} of them hold alone"

# %% [markdown]
# ## A merge, and its undoing
#
# Somebody takes a second customer for the same person and forces the two together. Force-links outrank every limit.

# %%
STATE = """
    SELECT profile_id, behaviour_score, identity_score, event_count, stage, tags, segments, identifiers
    FROM kintsugi.profiles WHERE workspace = {workspace:String}
      AND profile_id IN {ids:Array(String)} ORDER BY profile_id
"""
other = ask(
    """
    SELECT profile_id FROM kintsugi.profiles
    WHERE workspace = {workspace:String} AND profile_id != {p:String} AND behaviour_score > 0
    ORDER BY event_count DESC, profile_id LIMIT 1
    """,
    p=messy,
).profile_id[0]
both = [messy, other]
before = ask(STATE, ids=both)
before[["profile_id", "behaviour_score", "identity_score", "event_count", "stage"]]

# %%
say("force", messy, other, "they look alike")
joined = ask(STATE, ids=both)
joined[["profile_id", "behaviour_score", "identity_score", "event_count", "stage"]]

# %% [markdown]
# One profile is left. The forced pair comes first and the rules decide about the rest: a second phone or login that
# would break a limit is refused and stands alone, and caps hold for all events together. So points do not simply add
# up, and no hand could take the two apart again. Here the word is withdrawn, and they are derived anew.

# %%
assert len(joined) == 1
say("none", messy, other, "they are brothers")
after = ask(STATE, ids=both)
assert after.astype(str).equals(before.astype(str)), "an undone merge leaves something behind"
after[["profile_id", "behaviour_score", "identity_score", "event_count", "stage"]]

# %% [markdown]
# Everything is as it was: scores, stage, tags, identifiers. What was published meanwhile stays in the journal, and so
# does who said what, and why.

# %%
ask(
    """
    SELECT change, cause, count() AS identifiers, min(changed_at) AS at FROM kintsugi.profile_merges
    WHERE workspace = {workspace:String} AND cause = 'override' AND hasAny(evidence, {ids:Array(String)})
    GROUP BY change, cause, from_profile, to_profile ORDER BY at
    """,
    ids=both,
)

# %%
ask(
    "SELECT verb, author, reason, state, ended_reason FROM kintsugi.overrides "
    "WHERE workspace = {workspace:String} AND a IN {ids:Array(String)} ORDER BY said_at",
    ids=both,
)
