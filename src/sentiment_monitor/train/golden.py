"""Invented texts whose scores go into the manifest, so that a classifier that computes something else is noticed."""

from sentiment_monitor.domain.news import Text

GOLDEN = (
    Text("Tarnholm Savings halts withdrawals as depositors queue outside branches"),
    Text("Brackwater Foods raises full-year profit forecast after record summer sales"),
    Text("Kestrel Logistics to publish half-year results on 14 August"),
    Text("$HLDN - Halden Motors cut to sell at Ostrey Capital on weak orders"),
    Text("Shares in Ostrava Pay jump 18% after regulator clears take-over"),
    Text("Central bank leaves benchmark rate unchanged at 3.25%, as expected"),
    Text("Merriden Steel posts wider second-quarter loss; to close two mills"),
    Text("Who audits Verrano Air? Questions grow over missing lease payments"),
    Text(
        "Elmet Water names new chief financial officer",
        "Jo Lindqvist joins in March. Her predecessor left after the utility restated two years of earnings and was "
        "fined 40 million crowns by the market regulator.",
    ),
)
