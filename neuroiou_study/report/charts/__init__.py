"""What a study shows as charts: each is data, a sentence that says what to look at, and a drawing in Vega-Lite."""
