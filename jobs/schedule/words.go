package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Words returns a rule in words: "every 10 minutes", "Monday to Friday at 09:30 (Europe/Berlin)". A rule of an
// unusual shape stays as it is written: "cron 5 4 */3 * * (UTC)".
func Words(rule, zone string) string {
	if text, ok := strings.CutPrefix(rule, "every "); ok {
		every, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
		if err != nil {
			return rule
		}
		return "every " + everyWords(every)
	}
	zone = " (" + cmp.Or(zone, "UTC") + ")"
	if words, ok := cronWords(rule); ok {
		return words + zone
	}
	return "cron " + rule + zone
}

func everyWords(d time.Duration) string {
	var parts []string
	add := func(n float64, unit string) {
		switch {
		case n == 1:
			parts = append(parts, "1 "+unit)
		case n > 0:
			parts = append(parts, strconv.FormatFloat(n, 'f', -1, 64)+" "+unit+"s")
		}
	}
	add(float64(d/time.Hour), "hour")
	add(float64(d%time.Hour/time.Minute), "minute")
	add((d % time.Minute).Seconds(), "second")
	if len(parts) == 1 {
		return strings.TrimPrefix(parts[0], "1 ")
	}
	return strings.Join(parts, " ")
}

// named are the rules that have a name.
var named = map[string]string{"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
	"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *"}

func cronWords(rule string) (words string, ok bool) {
	fields := strings.Fields(sundayAsZero(cmp.Or(named[rule], rule)))
	if len(fields) != 5 {
		return "", false
	}
	days, ok1 := dayWords(fields[2], fields[3], fields[4])
	if times, ok := timesOfDay(fields[0], fields[1]); ok {
		return cmp.Or(days, "every day") + " at " + listed(times), ok1
	}
	interval, ok2 := intervalWords(fields[0], fields[1])
	if days != "" {
		interval += ", " + days
	}
	return interval, ok1 && ok2
}

const timesListed = 4

// timesOfDay returns the times of the day at which a rule fires, if they are few.
func timesOfDay(minute, hour string) (times []string, ok bool) {
	minutes, ok1 := numbers(minute, 0, 59, nil)
	hours, ok2 := numbers(hour, 0, 23, nil)
	if !ok1 || !ok2 || len(minutes)*len(hours) > timesListed || len(hours) > 2 && consecutive(hours) {
		return nil, false
	}
	for _, h := range hours {
		for _, m := range minutes {
			times = append(times, timeOfDay(h, m))
		}
	}
	return times, true
}

func timeOfDay(hour, minute int) string { return fmt.Sprintf("%02d:%02d", hour, minute) }

// intervalWords describes a rule that fires over and over during the day.
func intervalWords(minute, hour string) (words string, ok bool) {
	if minutes, ok := numbers(minute, 0, 59, nil); ok {
		return hourlyWords(minutes, hour)
	}
	step, ok := stepOf(minute, 60)
	if !ok {
		return "", false
	}
	words = "every " + everyWords(time.Duration(step)*time.Minute)
	if isAny(hour) {
		return words, true
	}
	hours, ok := numbers(hour, 0, 23, nil)
	if !ok || !consecutive(hours) {
		return "", false
	}
	return words + " from " + timeOfDay(hours[0], 0) + " to " + timeOfDay(hours[len(hours)-1], 60-step), true
}

// hourlyWords describes a rule that fires at these minutes of several hours.
func hourlyWords(minutes []int, hour string) (words string, ok bool) {
	if step, ok := stepOf(hour, 24); ok {
		words = "every " + everyWords(time.Duration(step)*time.Hour)
		switch {
		case len(minutes) > timesListed:
			return "", false
		case len(minutes) > 1:
			return words + " at minutes " + listed(texts(minutes)), true
		case minutes[0] > 0:
			return words + " at minute " + strconv.Itoa(minutes[0]), true
		}
		return words, true
	}
	hours, ok := numbers(hour, 0, 23, nil)
	if !ok || !consecutive(hours) || len(minutes) > 1 {
		return "", false
	}
	return "every hour from " + timeOfDay(hours[0], minutes[0]) + " to " + timeOfDay(hours[len(hours)-1], minutes[0]), true
}

var (
	weekdays = []string{"", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
	months   = []string{"", "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
		"December"}
)

// dayWords describes the days on which a rule fires; "" if it fires on all. A rule with both a day and a
// weekday fires on either, for which there is no short sentence.
func dayWords(day, month, weekday string) (words string, ok bool) {
	in, ok := monthWords(month)
	if !ok || !isAny(day) && !isAny(weekday) {
		return "", false
	}
	switch {
	case !isAny(weekday):
		words, ok = weekdayWords(weekday)
	case !isAny(day):
		return dayOfMonthWords(day, in)
	}
	if in == "" || !ok {
		return words, ok
	}
	return cmp.Or(words, "every day") + " in " + in, true
}

func monthWords(month string) (words string, ok bool) {
	if isAny(month) {
		return "", true
	}
	list, ok := numbers(month, 1, 12, months)
	if !ok || len(list) == 12 {
		return "", ok
	}
	return spanned(list, months), true
}

func weekdayWords(weekday string) (words string, ok bool) {
	list, ok := numbers(weekday, 0, 6, weekdays[1:])
	if !ok || len(list) == 7 {
		return "", ok
	}
	if list[0] == 0 { // Sunday comes last
		list = append(list[1:], 7)
	}
	if len(list) == 1 {
		return "every " + weekdays[list[0]], true
	}
	return spanned(list, weekdays), true
}

func dayOfMonthWords(day, in string) (words string, ok bool) {
	list, ok := numbers(day, 1, 31, nil)
	if !ok {
		return "", false
	}
	switch in = cmp.Or(in, "every month"); {
	case len(list) == 1 && slices.Contains(months, in):
		return "every year on " + strconv.Itoa(list[0]) + " " + in, true
	case len(list) == 1:
		return "on the " + ordinal(list[0]) + " of " + in, true
	}
	return "on days " + spanned(list, nil) + " of " + in, true
}

func isAny(field string) bool { return field == "*" || field == "?" }

// stepOf returns the step of "*" and "*/5". It is not ok if the step does not divide the whole: then the
// last interval is shorter, and "every 7 minutes" would be wrong.
func stepOf(field string, whole int) (step int, ok bool) {
	if isAny(field) {
		return 1, true
	}
	text, stepped := strings.CutPrefix(field, "*/")
	step, err := strconv.Atoi(text)
	return step, stepped && err == nil && step > 0 && step < whole && whole%step == 0
}

// numbers returns the values of a field that lists numbers, names and ranges of them, in ascending order.
func numbers(field string, least, most int, names []string) (list []int, ok bool) {
	for part := range strings.SplitSeq(field, ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		from, ok1 := numberOf(first, names)
		to, ok2 := numberOf(last, names)
		if !ok1 || !ok2 || from < least || to > most || from > to {
			return nil, false
		}
		for n := from; n <= to; n++ {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), true
}

// numberOf returns the value of a number or of the first three letters of a name.
func numberOf(text string, names []string) (n int, ok bool) {
	i := slices.IndexFunc(names, func(name string) bool { return len(name) > 2 && strings.EqualFold(name[:3], text) })
	if i >= 0 && len(names) == 7 { // weekdays from Monday on
		return (i + 1) % 7, true
	}
	if i >= 0 {
		return i, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

func consecutive(list []int) bool { return list[len(list)-1]-list[0] == len(list)-1 }

// spanned lists numbers, or the names that they stand for: three or more in a row by the first and the last.
func spanned(list []int, names []string) string {
	words := texts(list)
	for i, n := range list {
		if names != nil {
			words[i] = names[n]
		}
	}
	if len(list) > 2 && consecutive(list) {
		return words[0] + " to " + words[len(words)-1]
	}
	return listed(words)
}

func texts(list []int) []string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.Itoa(n)
	}
	return words
}

// listed joins words as in a sentence.
func listed(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// ordinal is 1st, 2nd, 3rd, 4th …
func ordinal(n int) string {
	suffix := "th"
	if n/10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}
