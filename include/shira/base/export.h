// Marks what libshira.so exports; everything else is hidden (-fvisibility=hidden).
#pragma once

#define SHIRA_API __attribute__((visibility("default")))
