# Rscript benchmarks/surveillance.R daily.csv > alarms.csv
#
# The methods of public-health surveillance on the days that `python benchmarks/detection.py DATABASE daily` prints:
# improved Farrington, negative-binomial GLR-CUSUM and EARS C1 to C3, of the R package surveillance (Debian:
# r-cran-surveillance). One line an alarm: method, series, day, negatives, bar. Each is told nothing but daily counts,
# so it can alarm at a day's end only. A past of 28 days stands for the five years that Farrington is made for.

suppressMessages(library(surveillance))

arguments <- commandArgs(trailingOnly = TRUE)
if (length(arguments) != 1) stop("usage: Rscript surveillance.R daily.csv")
days <- read.csv(arguments[1])
past <- 28

alarms_of <- function(method, name, series, result, from) {
  hits <- which(alarms(result)[, 1] > 0)
  if (length(hits) == 0) return(NULL)
  data.frame(
    method = method, series = name, day = series$day[from - 1 + hits],
    negative = observed(result)[hits, 1], bar = upperbound(result)[hits, 1]
  )
}

judged <- function(name) {
  series <- days[days$series == name, ]
  counts <- sts(observed = matrix(series$negative, ncol = 1), frequency = 365)
  range <- (past + 1):nrow(series)
  from <- past + 1
  quiet <- max(mean(series$negative[1:past]), 0.05)
  attempt <- function(expression) tryCatch(expression, error = function(problem) NULL)
  found <- list()
  ears <- c("C1", "C2", "C3")
  for (kind in ears) {
    result <- attempt(earsC(counts, control = list(range = range, method = kind, baseline = 7, alpha = 0.001)))
    if (!is.null(result)) found[[kind]] <- alarms_of(paste0("ears-", kind), name, series, result, from)
  }
  # With one value of b a "year" is what freq says: four weeks of seven days, each compared with its own weekday.
  weekly <- sts(observed = matrix(series$negative, ncol = 1), frequency = 7)
  result <- attempt(farringtonFlexible(weekly, control = list(
    range = range, b = 4, w = 1, noPeriods = 1, reweight = TRUE, weightsThreshold = 2.58, trend = FALSE,
    pastWeeksNotIncluded = 1, thresholdMethod = "nbPlugin", alpha = 0.005, limit54 = c(0, 4)
  )))
  if (!is.null(result)) found$farrington <- alarms_of("farrington", name, series, result, from)
  result <- attempt(glrnb(counts, control = list(
    range = range, mu0 = rep(quiet, length(range)), alpha = 0.5, c.ARL = 5, ret = "value", change = "intercept", dir = "inc"
  )))
  if (!is.null(result)) found$glrnb <- alarms_of("glr-nb", name, series, result, from)
  do.call(rbind, found)
}

alarms_found <- do.call(rbind, lapply(unique(days$series), judged))
write.csv(alarms_found, row.names = FALSE)
