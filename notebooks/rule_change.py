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
# # What would a rule change do?
#
# A ruleset is derived over all history beside the one in force (`kintsugi rules preview --keep` opens such a
# generation). Nobody reads it until it is activated, so it can be looked at in peace.

# %%
import altair as alt
import pandas as pd
from workbench import ask, difference

alt.renderers.enable("png", scale_factor=1.5)

# %%
generations = ask("""
    SELECT generation, opened_at, is_in_force, ruleset FROM kintsugi.generations
    WHERE workspace = {workspace:String} ORDER BY is_in_force DESC, opened_at DESC
""")
assert len(generations) > 1, "open another generation first: kintsugi rules preview --keep"
live, candidate = generations.generation[0], generations.generation[1]
generations[["generation", "opened_at", "is_in_force"]]

# %% [markdown]
# ## What differs between the two

# %%
rules = pd.concat(
    ask(
        """
        SELECT {g:String} AS generation, JSONExtractString(line, 'name') AS rule,
            JSONExtractInt(line, 'points') / 1000 AS points
        FROM (SELECT arrayJoin(JSONExtractArrayRaw(ruleset, 'scoring', 'behaviour')) AS line
              FROM kintsugi.generations WHERE workspace = {workspace:String} AND generation = {g:String})
        """,
        g=name,
    )
    for name in (live, candidate)
).pivot(index="rule", columns="generation", values="points")
changed = rules[rules[live] != rules[candidate]]
assert len(changed) > 0
changed

# %% [markdown]
# ## What becomes of people
#
# Profiles of the two are matched by the identifiers they hold.

# %%
told = difference(live, candidate)
pd.DataFrame([{"kind": each.kind, "before": each.before, "after": each.after} for each in told.changes])

# %%
scores = pd.DataFrame(
    [{"score": each.name, "rises": each.rises, "falls": each.falls} for each in told.effects]
)
assert scores.falls.sum() + scores.rises.sum() > 0
scores

# %%
bands = pd.DataFrame(
    [
        {"score": effect.name, "from": -1e9 if band.low is None else band.low, "rules": name, "people": people,
         "band": f"{'' if band.low is None else f'{band.low:g}'} … {'' if band.high is None else f'{band.high:g}'}"}
        for effect in told.effects
        for band in effect.bands
        for name, people in (("in force", band.before), ("candidate", band.after))
    ]
)  # fmt: skip
alt.vconcat(
    *(
        alt.Chart(bands[bands.score == score], title=f"{score} score")
        .mark_bar()
        .encode(
            x=alt.X("band", sort=alt.EncodingSortField("from"), title=None, axis=alt.Axis(labelAngle=0)),
            y=alt.Y("people"),
            xOffset=alt.XOffset("rules", sort=["in force", "candidate"]),
            color=alt.Color("rules", title=None, sort=["in force", "candidate"]),
        )
        .properties(width=640, height=140)
        for score in bands.score.unique()
    )
)

# %% [markdown]
# ## Who would move

# %%
pd.DataFrame(told.stages, columns=["stage now", "stage then", "people"])

# %% [markdown]
# If this is what was meant: `kintsugi rules apply`. If it was not: nothing has happened.
