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
# # Our best leads
#
# Whom should sales call first, why do they stand there, which channels bring them, and do people come back?

# %%
import altair as alt
from workbench import ask

alt.renderers.enable("png", scale_factor=1.5)

# %%
leads = ask("""
    SELECT profile_id, behaviour_score, identity_score, stage, last_channel, owner, toDate(last_seen_at) AS last_seen_on
    FROM kintsugi.profiles WHERE workspace = {workspace:String} AND identity_score > 0
    ORDER BY behaviour_score + identity_score DESC, profile_id LIMIT 10
""")
assert len(leads) > 0
leads

# %% [markdown]
# ## Why they stand there
#
# The ledger: points by rule, all adding up to the score.

# %%
ledger = ask(
    "SELECT profile_id, score, rule, points FROM kintsugi.score_ledger "
    "WHERE workspace = {workspace:String} AND profile_id IN {ids:Array(String)} AND points != 0",
    ids=leads.profile_id.tolist(),
)
total = ledger[ledger.score == "behaviour"].groupby("profile_id").points.sum()
shown = leads.set_index("profile_id").behaviour_score
assert (total - shown[total.index]).abs().max() < 0.001, "a ledger does not add up"
alt.Chart(ledger.assign(lead=ledger.profile_id.str[:8])).mark_bar().encode(
    x=alt.X("points", stack="zero"),
    y=alt.Y("lead", sort=[profile[:8] for profile in leads.profile_id], title=None),
    color=alt.Color("rule", title=None, scale=alt.Scale(scheme="tableau20")),
    row=alt.Row("score", title=None),
).properties(width=560, height=180, title="What the scores of the ten are made of").resolve_scale(
    x="independent"
)

# %% [markdown]
# ## The funnel
#
# How far the people of each channel get.

# %%
steps = ["seen", "reachable", "interested", "ready"]
funnel = ask("""
    SELECT first_channel AS channel, count() AS seen,
        countIf(has(mapKeys(identifiers), 'phone') OR has(mapKeys(identifiers), 'email')) AS reachable,
        countIf(behaviour_score >= 30) AS interested,
        countIf(behaviour_score >= 60 AND identity_score >= 30) AS ready
    FROM kintsugi.profiles WHERE workspace = {workspace:String} AND first_channel != ''
    GROUP BY channel ORDER BY seen DESC, channel LIMIT 6
""")
alt.Chart(funnel.melt("channel", steps, "step", "people")).mark_bar().encode(
    x=alt.X("people", title=None), y=alt.Y("step", sort=steps, title=None), color=alt.Color("step", legend=None),
    facet=alt.Facet("channel", columns=3, title=None),
).properties(width=170, height=80, title="From first contact to ready for sales")  # fmt: skip

# %%
ask(
    "SELECT stage, count() AS people, round(avg(behaviour_score), 1) AS behaviour FROM kintsugi.profiles "
    "WHERE workspace = {workspace:String} GROUP BY stage ORDER BY people DESC"
)

# %% [markdown]
# ## Cohorts
#
# Of the people first seen in a week, how many are active so many weeks later?

# %%
cohorts = ask("""
    SELECT first_week, toUInt32(intDiv(toInt32(week) - toInt32(first_week), 7)) AS weeks_later,
        uniqExact(profile_id) AS people
    FROM (
        SELECT profile_id, toMonday(toDate(day)) AS week, min(week) OVER (PARTITION BY profile_id) AS first_week
        FROM kintsugi.profile_events WHERE workspace = {workspace:String} AND is_robot = 0
    )
    GROUP BY first_week, weeks_later ORDER BY first_week, weeks_later
""")
size = cohorts[cohorts.weeks_later == 0].set_index("first_week").people
cohorts["share"] = cohorts.people / cohorts.first_week.map(size)
cohorts["week"] = cohorts.first_week.astype(str)
base = alt.Chart(cohorts).encode(
    x=alt.X("weeks_later:O", title="weeks later"), y=alt.Y("week:O", title="first seen")
)
cells = base.mark_rect().encode(color=alt.Color("share", scale=alt.Scale(scheme="goldorange"), legend=None))
numbers = base.mark_text().encode(text=alt.Text("share", format=".0%"))
(cells + numbers).properties(width=360, height=160, title="Active again, by week of the first event")
